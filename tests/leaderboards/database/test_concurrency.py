"""Many processes write one leaderboard while others read it: nothing is lost, doubled or torn, also where some are killed."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time

import pytest

from icrl_leaderboards.analysis.summary import group_runs
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.database.schema import CHILDREN

#: Records its runs one by one; what was recorded before a kill is recorded again, which must not double it.
WRITER = """
import dataclasses, json, sys
from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.database.leaderboard import Leaderboard
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
record = RunRecord.from_json(json.load(sys.stdin))
board = Leaderboard(path)
for index in range(count):
    board.record(dataclasses.replace(record, run_id=f"{name}-{index}", seed=index))
    if index % 50 == 0:
        board.record(dataclasses.replace(record, run_id="shared"))
    print(index, flush=True)
"""
WRITERS, RUNS, KILLS = 8, 250, 6


@pytest.fixture
def start(tmp_path, make_record):
    document = json.dumps(make_record(num_tasks=2, num_episodes=3).as_json())

    def start(name, count):
        output = (tmp_path / f"{name}.log").open("a")
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "board.sqlite"), name, str(count)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output.close()
        process.stdin.write(document)
        process.stdin.close()
        return process

    return start


def check_whole(path, runs):
    """The database is sound, and every run has all its rows and no more."""
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        for model in CHILDREN:
            table = model.__tablename__
            counts = dict(connection.execute(f"SELECT run, count(*) FROM {table} GROUP BY run"))
            assert len(counts) == runs, table
            assert len(set(counts.values())) == 1, table
    connection.close()


@pytest.mark.slow
def test_eight_writers_a_reader_and_kills(tmp_path, start):
    path = tmp_path / "board.sqlite"
    names = [f"writer{index}" for index in range(WRITERS)]
    processes = {name: start(name, RUNS) for name in names}
    choose, kills, seen = random.Random(0), 0, 0
    with Leaderboard(path) as board:
        while any(process.poll() is None for process in processes.values()):
            started = time.monotonic()
            scores = board.scores()
            assert len(scores) >= seen  # what a reader has seen stays
            seen = len(scores)
            if scores:
                assert all(len(score.returns) == 2 and len(score.seconds) == 3 for score in scores)
                assert sum(len(row.runs) + len(row.superseded) for row in group_runs(scores[:50])) == min(seen, 50)
            time.sleep(0.2 + 4 * (time.monotonic() - started))  # a reader in between, not a load of its own
            if seen and kills < KILLS:
                victim = choose.choice(names)
                processes[victim].kill()
                processes[victim].wait()
                check_readable(path)
                processes[victim] = start(victim, RUNS)
                kills += 1
        said = "".join((tmp_path / f"{name}.log").read_text() for name in names)
        assert "Error" not in said
        assert "locked" not in said
        assert [process.returncode for process in processes.values()] == [0] * WRITERS
        expected = sorted([f"{name}-{run}" for name in names for run in range(RUNS)] + ["shared"])
        assert board.run_ids() == expected
    assert kills == KILLS
    check_whole(path, WRITERS * RUNS + 1)


def check_readable(path):
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_a_killed_writer_leaves_whole_runs(tmp_path, start):
    process = start("victim", 10_000)
    log = tmp_path / "victim.log"
    while log.read_text().count("\n") < 5:
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    process.kill()
    process.wait()
    with Leaderboard(tmp_path / "board.sqlite") as board:
        runs = board.run_ids()
    assert len(runs) >= 6
    check_whole(tmp_path / "board.sqlite", len(runs))
