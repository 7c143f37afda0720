"""The same leaderboard on PostgreSQL, on a real server that these tests start for themselves."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from sqlalchemy import create_engine, inspect, text

from icrl_leaderboards.database.connections import LeaderboardError, open_engine, parse_location, transaction
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.database.loading import load_records
from icrl_leaderboards.database.schema import SCHEMA_VERSION
from icrl_leaderboards.database.studies import Study, StudyRun
from icrl_registry.errors import UsageError


@pytest.fixture
def board(url):
    with Leaderboard(url) as board:
        yield board


def test_nothing_recorded_yet(board):
    assert board.runs() == []
    assert board.studies() == []


def test_a_run_comes_back_equal(board, make_record):
    record = make_record(
        seed=2**63 - 1,
        num_tasks=2,
        returns=[[-0.0, 5e-324, 0.1 + 0.2], [1.7976931348623157e308, -1 / 3, 1e16]],
        episode_lengths=[[1, 2, 2**31 - 1]] * 2,
        oracle=[None, 1.5],
        source_curves=[[1.0, 2.0], []],
        provenance={"git": None, "nested": {"a": [1, 2.5, "x", {}]}},
        plugins=[],
    )
    board.record(record)
    board.record(record)
    assert board.runs() == [record]
    assert [str(value) for value in board.runs()[0].returns[0]] == ["-0.0", "5e-324", "0.30000000000000004"]
    assert board.scores()[0].returns.tolist() == record.returns
    assert board.delete(record.run_id)
    assert board.runs() == []


def test_hostile_names(board, make_record, hostile_name):
    record = make_record(method=hostile_name, variant={"method.x": hostile_name}, num_tasks=1, num_episodes=1)
    if "\x00" in hostile_name:
        with pytest.raises(LeaderboardError, match="NUL"):
            board.record(record)
        return
    board.record(record)
    assert board.runs(method=hostile_name) == [record]
    study = Study(hostile_name[:255] or "x", hostile_name, "e", "p", "online", {"k": [hostile_name]}, [], "now")
    board.record_study(study)
    assert board.studies(study.name) == [study]


def test_filters(board, make_record):
    records = [make_record(method=method, seed=seed) for method in ("ad-dt", "ad-mamba") for seed in range(2)]
    board.record_all(records)
    assert board.runs(method="ad-dt", seed=1, protocol="laptop") == [records[1]]
    assert board.run_ids(environment="reacher-goal") == sorted(record.run_id for record in records)


def test_an_older_schema_is_brought_up_to_date(url, board, make_record):
    record = make_record(num_tasks=2, num_episodes=2)
    board.record(record)
    expected = structure(url)
    engine = create_engine(parse_location(url))
    with engine.begin() as connection:  # schema 1 is today's without these
        for statement in (
            "DROP TABLE certificates",
            "DROP TABLE study_runs",
            "DROP TABLE studies",
            "ALTER TABLE tasks DROP COLUMN source_curve",
            "ALTER TABLE tasks DROP COLUMN blind_ceiling",
            "ALTER TABLE episodes DROP COLUMN success",
            "ALTER TABLE runs DROP COLUMN protocol_content",
            "ALTER TABLE runs DROP COLUMN step_rewards",
            "ALTER TABLE runs DROP COLUMN scores_sha256",
            "ALTER TABLE runs DROP COLUMN record_sha256",
            "UPDATE schema_version SET version = 1",
        ):
            connection.execute(text(statement))
    engine.dispose()
    with Leaderboard(url) as again:
        assert again.runs() == [record]
        again.record_study(Study("s", "m", "e", "p", "online", {"k": [1]}, [StudyRun("r", 0, {"k": 1})], "now"))
        assert [study.name for study in again.studies()] == ["s"]
    assert structure(url) == expected


def structure(url):
    engine = create_engine(parse_location(url))
    inspector = inspect(engine)
    found = {
        name: sorted(
            (column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)
        )
        for name in inspector.get_table_names()
    }
    engine.dispose()
    return found


def test_a_newer_schema_is_refused(url, board, make_record):
    board.record(make_record())
    engine = create_engine(parse_location(url))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE schema_version SET version = {SCHEMA_VERSION + 1}"))
    engine.dispose()
    for call in (lambda fresh: fresh.runs(), lambda fresh: fresh.record(make_record())):
        with Leaderboard(url) as fresh, pytest.raises(LeaderboardError, match="newer icrl-bench"):
            call(fresh)


def test_a_reader_sees_one_state_throughout(url, board, make_record):
    old = make_record(run_id="r", num_tasks=3, num_episodes=3)
    board.record(old)
    engine = open_engine(parse_location(url))
    with transaction(engine, write=False) as connection:
        connection.execute(text("SELECT count(*) FROM runs")).scalar()
        board.record(make_record(run_id="r", num_tasks=2, num_episodes=2))  # between two queries of the reader
        assert load_records(connection, []) == [old]
    engine.dispose()


WRITER = """
import dataclasses, json, sys
from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.database.leaderboard import Leaderboard
record = RunRecord.from_json(json.load(sys.stdin))
with Leaderboard(sys.argv[1]) as board:
    for index in range(int(sys.argv[3])):
        board.record(dataclasses.replace(record, run_id=f"{sys.argv[2]}-{index}", seed=index))
        board.record(dataclasses.replace(record, run_id="shared"))
"""


def test_writers_at_once_on_an_empty_database(url, make_record):
    writers, each = 4, 15
    document = json.dumps(make_record(num_tasks=2, num_episodes=3).as_json())
    processes = []
    for index in range(writers):
        command = [sys.executable, "-c", WRITER, url, f"writer{index}", str(each)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdin.write(document)
        process.stdin.close()
        processes.append(process)
    with Leaderboard(url) as board:
        while any(process.poll() is None for process in processes):
            assert all(len(run.returns) == 2 and len(run.seconds) == 3 for run in board.runs())
            time.sleep(0.2)
        for process in processes:
            said = process.stderr.read()
            process.stderr.close()
            assert process.returncode == 0, said
        expected = [f"writer{index}-{run}" for index in range(writers) for run in range(each)]
        assert board.run_ids() == sorted([*expected, "shared"])
        assert len(board.runs()) == writers * each + 1


def test_an_unreachable_server_is_named_without_its_password():
    board = Leaderboard("postgresql://bench:secret@/none?host=/nowhere")
    for call in (board.runs, board.studies):
        with pytest.raises(LeaderboardError) as caught:
            call()
        assert "secret" not in caught.value.message + caught.value.hint
        assert "server" in caught.value.hint


def test_without_the_driver_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError) as caught:
        Leaderboard("postgresql://bench@localhost/bench")
    assert caught.value.hint == "pip install 'icrl-bench[postgres]'"
