"""PostgreSQL as the shared end of many machines: bounded connections, restarts, conflicts, TLS, and a password nobody sees."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from sqlalchemy import event, exc, text

from icrl_bench.cli.main import main
from icrl_leaderboards.database import postgresql
from icrl_leaderboards.database.connections import LeaderboardError, open_engine, parse_location, transaction
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_registry.errors import UsageError

from .postgres_server import PASSWORD

IN_URL = quote(PASSWORD, safe="")


@pytest.fixture
def record(make_record):
    return make_record(num_tasks=2, num_episodes=3)


def open_connections(url):
    engine = open_engine(parse_location(url))
    with engine.connect() as connection:
        return connection.execute(
            text("SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()")
        ).scalar()


def test_threads_share_few_connections_and_none_stays_open(url, record):
    with Leaderboard(url) as board:
        board.record(record)
        lock, now, most = threading.Lock(), [0], [0]

        def count(change):  # as this process has them: the server takes a moment to forget one that was closed
            with lock:
                now[0] += change
                most[0] = max(most[0], now[0])

        event.listen(board._engine, "checkout", lambda *given: count(1))
        event.listen(board._engine, "checkin", lambda *given: count(-1))
        with ThreadPoolExecutor(32) as threads:
            made = [dataclasses.replace(record, run_id=f"r{index}", seed=index) for index in range(64)]
            list(threads.map(board.record, made))
        assert board.run_ids() == sorted([record.run_id, *(run.run_id for run in made)])
        assert 1 < most[0] <= postgresql.CONNECTIONS
        assert now[0] == 0
        end = time.monotonic() + 60
        while open_connections(url) and time.monotonic() < end:
            time.sleep(0.05)
        assert open_connections(url) == 0


def hold(held, url, count):
    for _ in range(count):
        held.append(open_engine(parse_location(url)).connect())


def test_more_writers_than_the_server_has_connections(url, record):
    """Each holds one of its own for a while; the server has 40."""
    held = []
    with pytest.raises(exc.OperationalError, match=r"too many clients|reserved"):
        hold(held, url, 60)
    freed = threading.Timer(1.0, lambda: [connection.close() for connection in held])
    freed.start()
    with Leaderboard(url) as board:
        board.record(record)  # waits until there is one
        assert board.runs() == [record]
    freed.join()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_restart_of_the_server_is_waited_for(server, url, record, how):
    with Leaderboard(url) as board:
        board.record(record)
        server.stop(how)
        restart = threading.Timer(1.0, server.start)
        restart.start()
        try:
            board.record(dataclasses.replace(record, run_id="after", seed=1))
            assert board.run_ids() == sorted(["after", record.run_id])
        finally:
            restart.join()


def test_what_a_restart_interrupts_is_done_again(url, record):
    """The connection dies within the transaction, between two of its statements."""
    end_others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    attempts = []

    def operation(connection):
        attempts.append(connection.execute(text("SELECT pg_backend_pid()")).scalar())
        if len(attempts) == 1:
            with open_engine(parse_location(url)).connect() as other:
                other.execute(text(end_others))
        return connection.execute(text("SELECT 7")).scalar()

    with Leaderboard(url) as board:
        board.record(record)
        assert board._write(operation) == 7
    assert len(attempts) == len(set(attempts)) == 2


def test_a_serialisation_failure_is_tried_again(url, record):
    """Two transactions that read and write the same: PostgreSQL lets one of them pass."""
    with Leaderboard(url) as board:
        board.record(record)
        attempts = []

        def operation(connection):
            attempts.append(1)
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            seen = connection.execute(text("SELECT seed FROM runs")).scalar()
            if len(attempts) == 1:
                engine = open_engine(parse_location(url))
                with transaction(engine, write=True) as other:
                    other.execute(text("UPDATE runs SET seed = seed + 1"))
            connection.execute(text("UPDATE runs SET seed = :seed"), {"seed": seen + 10})

        board._write(operation)
        assert len(attempts) == 2
    with open_engine(parse_location(url)).connect() as connection:
        assert connection.execute(text("SELECT seed FROM runs")).scalar() == record.seed + 11


def test_a_server_that_never_was_there_is_not_waited_for():
    began = time.monotonic()
    with Leaderboard("postgresql://bench@127.0.0.1:1/none") as board, pytest.raises(LeaderboardError, match="server"):
        board.reach()
    assert time.monotonic() - began < 20


def test_the_password_gets_in(server, database, record):
    with Leaderboard(server.remote_url(database, IN_URL)) as board:
        board.record(record)
        assert board.runs() == [record]
    with Leaderboard(server.remote_url(database, options=f"?password={IN_URL}")) as board:
        assert board.runs() == [record]


@pytest.mark.parametrize(
    "form",
    [
        "postgresql://bench:{}@127.0.0.1:{port}/nowhere",
        "postgresql://bench@127.0.0.1:{port}/nowhere?password={}",
        "postgresql://bench:wrong-{}@127.0.0.1:{port}/postgres",
        "postgresql://bench@127.0.0.1:{port}/nowhere?sslpassword={}&sslmode=require",
        "postgresql://bench:{}@127.0.0.1:1/nowhere",
        "postgresql://bench:{}@127.0.0.1:{port}/nowhere?unknown_option=1",
        "postgresql://bench:{raw}@127.0.0.1:{port}/nowhere",
        "postgresql://bench:x@y:{}@127.0.0.1:not-a-port/nowhere",
        "nosuch://bench:{}@127.0.0.1/nowhere",
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_no_error_shows_the_password(server, capfd, tmp_path, form, as_json):
    url = form.format(IN_URL, port=server.port, raw=PASSWORD)
    command = ["leaderboard", "show", "--leaderboard", url, *(["--json"] if as_json else [])]
    with pytest.raises(SystemExit) as caught:
        main(command)
    out, err = capfd.readouterr()
    assert caught.value.code in (1, 2)
    assert all(secret not in out + err for secret in (PASSWORD, IN_URL, "s3cret", "p@ss"))
    assert "Traceback" not in err
    if as_json:
        assert set(json.loads(out)) == {"error"}


def test_nothing_that_is_kept_shows_the_password(server, database, record, tmp_path, capfd):
    """Neither a row's provenance, nor what is published of it, nor how the leaderboard names itself."""
    url, record = server.remote_url(database, IN_URL), dataclasses.replace(record, run_id="0a0b")
    with Leaderboard(url) as board:
        board.record(record)
        assert "s3cret" not in board.place + repr(board.url) + str(board._engine)
        assert "s3cret" not in json.dumps(board.runs()[0].as_json())
    for command in (
        ["leaderboard", "show", "--leaderboard", url, "--json"],
        ["leaderboard", "submit", "0a0b", "--leaderboard", url, "--out", str(tmp_path / "published")],
    ):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert not ended.value.code
    said = "".join(capfd.readouterr())
    files = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert all("s3cret" not in each and IN_URL not in each for each in [said, *files])


def test_options_of_tls_reach_the_driver(server, database):
    """This server has no TLS: one that demands it is told so, by the driver itself."""
    with (
        Leaderboard(server.remote_url(database, IN_URL, "?sslmode=require")) as board,
        pytest.raises(LeaderboardError, match="SSL"),
    ):
        board.reach()
    with Leaderboard(server.remote_url(database, IN_URL, "?sslmode=prefer&connect_timeout=3")) as board:
        board.reach()
    url = parse_location("postgresql://h/d?sslmode=verify-full&sslrootcert=ca.pem&sslcert=me.pem&sslkey=me.key")
    _, given = open_engine(url).dialect.create_connect_args(url)
    assert {name: given[name] for name in ("sslmode", "sslrootcert", "sslcert", "sslkey")} == {
        "sslmode": "verify-full", "sslrootcert": "ca.pem", "sslcert": "me.pem", "sslkey": "me.key",
    }  # fmt: skip


def test_an_url_that_cannot_be_read_is_a_usage_error():
    with pytest.raises(UsageError) as caught:
        parse_location("postgresql://bench:s3cret@host:port/name")
    assert caught.value.__suppress_context__
    assert "s3cret" not in str(caught.value)


WRITER = """
import dataclasses, json, sys
from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.database.leaderboard import Leaderboard
name, count = sys.argv[1], int(sys.argv[2])
record = RunRecord.from_json(json.loads(sys.stdin.readline()))
with Leaderboard(sys.argv[3]) as board:
    board.reach()  # a server that was never there is not waited for
    print("there", flush=True)
    sys.stdin.readline()
    for index in range(count):
        board.record(dataclasses.replace(record, run_id=f"{name}-{index}", seed=index))
"""


def test_many_writers_and_a_restart_in_between(server, url, record, request):
    """64 writers of 100 runs with `--soak full`, on a server of 40 connections: none lost, none doubled, none half there."""
    full = request.config.getoption("--soak", "small") == "full"
    writers, each = (64, 100) if full else (4, 8)
    document, environment = json.dumps(record.as_json()), {**os.environ, "OMP_NUM_THREADS": "1"}
    with Leaderboard(url) as board:
        board.record(record)
        processes = []
        for index in range(writers):
            command = [sys.executable, "-c", WRITER, f"writer{index}", str(each), url]
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            process = subprocess.Popen(command, **pipes, text=True, env=environment)
            process.stdin.write(f"{document}\n")
            process.stdin.flush()
            processes.append(process)
        assert [process.stdout.readline() for process in processes] == ["there\n"] * writers
        for process in processes:  # all at once, so that none is done before the restart
            process.stdin.write("go\n")
            process.stdin.close()
            process.stdout.close()
        while len(board.run_ids()) < 1 + writers * each // 3:
            assert any(process.poll() is None for process in processes)
            time.sleep(0.05)
        server.stop(signal.SIGQUIT)
        server.start()
        for process in processes:
            said = process.stderr.read()
            process.stderr.close()
            assert process.wait(600) == 0, said
        expected = [f"writer{index}-{run}" for index in range(writers) for run in range(each)]
        assert board.run_ids() == sorted([*expected, record.run_id])
        assert {run.returns == record.returns and len(run.seconds) == len(record.seconds) for run in board.runs()} == {
            True
        }
