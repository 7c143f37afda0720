"""Several processes write one leaderboard: nothing is lost, doubled or torn, also when one is killed."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time

import pytest

from icrl_leaderboards.store import Leaderboard

WRITER = """
import dataclasses, json, sys
from icrl_leaderboards.records import RunRecord
from icrl_leaderboards.store import Leaderboard
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
record = RunRecord.from_json_object(json.load(sys.stdin))
board = Leaderboard(path)
for index in range(count):
    board.record(dataclasses.replace(record, run_id=f"{name}-{index}", seed=index))
    board.record(dataclasses.replace(record, run_id="shared"))
    print(index, flush=True)
"""


@pytest.fixture
def start(tmp_path, make_record):
    document = json.dumps(make_record(num_tasks=3, num_episodes=4).to_json_object())

    def start(name, count):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "board.sqlite"), name, str(count)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        process.stdin.write(document)
        process.stdin.close()
        return process

    return start


def test_writers_lose_and_double_nothing(tmp_path, start):
    writers, each = 3, 5
    processes = [start(f"writer{index}", each) for index in range(writers)]
    board = Leaderboard(tmp_path / "board.sqlite")
    while any(process.poll() is None for process in processes):
        for run in board.runs():
            assert len(run.returns) == 3  # a reader in between sees whole runs only
        time.sleep(0.1)
    for process in processes:
        assert process.returncode == 0, process.stderr.read()
        process.stdout.close()
        process.stderr.close()
    expected = {f"writer{index}-{run}" for index in range(writers) for run in range(each)} | {"shared"}
    ids = [run.run_id for run in board.runs()]
    assert sorted(ids) == sorted(expected)


def test_a_killed_writer_leaves_whole_runs(tmp_path, start):
    process = start("victim", 10_000)
    for _ in range(5):
        process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    with sqlite3.connect(tmp_path / "board.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    runs = Leaderboard(tmp_path / "board.sqlite").runs()
    assert len(runs) >= 6
    assert all(len(run.returns) == 3 and len(run.seconds) == 3 for run in runs)
