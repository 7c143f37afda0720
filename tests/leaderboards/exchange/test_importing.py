"""Importing records each good file once, recognises duplicates, and grows with the number of files and no faster."""

from __future__ import annotations

import dataclasses
import time

import pytest

from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.exchange.document import file_name, to_bytes
from icrl_leaderboards.exchange.importing import find_files, import_files


@pytest.fixture
def board(tmp_path):
    with Leaderboard(tmp_path / "board.sqlite") as board:
        yield board


def publish(folder, *records):
    paths = []
    for record in records:
        path = folder / file_name(record)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_bytes(record))
        paths.append(path)
    return paths


def verdicts(outcomes):
    return [outcome.verdict for outcome in outcomes]


def test_files_come_in_once(board, make_record, tmp_path):
    records = [make_record(seed=seed, num_tasks=2, num_episodes=2) for seed in range(3)]
    publish(tmp_path / "published", *records)
    found = find_files([tmp_path / "published", tmp_path / "published" / "laptop-v0"])
    assert len(found) == 3
    assert verdicts(import_files(board, found)) == ["imported"] * 3
    assert board.runs() == records
    assert verdicts(import_files(board, found)) == ["there already"] * 3
    assert board.runs() == records


def test_the_same_run_of_another_machine_is_a_duplicate(board, make_record, tmp_path):
    mine = make_record()
    board.record(mine)
    theirs = dataclasses.replace(mine, created_at="2027-01-01T00:00:00+00:00", seconds={"train": 1.0})
    assert verdicts(import_files(board, publish(tmp_path, theirs))) == ["there already"]
    assert board.runs() == [mine]


def test_the_same_run_with_other_episodes(board, make_record, tmp_path):
    mine = make_record(num_tasks=1, num_episodes=1, returns=[[1.0]])
    board.record(mine)
    theirs = dataclasses.replace(mine, returns=[[2.0]])
    paths = publish(tmp_path, theirs)
    (outcome,) = import_files(board, paths)
    assert outcome.verdict == "refused"
    assert "--replace" in outcome.detail
    assert board.runs() == [mine]
    assert verdicts(import_files(board, paths, replace=True)) == ["replaced"]
    assert board.runs() == [theirs]


def test_two_files_of_one_run(board, make_record, tmp_path):
    run = make_record(num_tasks=1, num_episodes=1, returns=[[1.0]])
    paths = [
        *publish(tmp_path / "a", run),
        *publish(tmp_path / "b", run),
        *publish(tmp_path / "c", dataclasses.replace(run, returns=[[2.0]])),
    ]
    assert verdicts(import_files(board, paths, replace=True)) == ["imported", "there already", "refused"]
    assert board.runs() == [run]


def test_a_bad_file_keeps_no_good_one_out(board, make_record, tmp_path):
    (good,) = publish(tmp_path, make_record())
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    assert verdicts(import_files(board, [bad, good])) == ["refused", "imported"]
    assert len(board.runs()) == 1


def test_twice_the_files_take_about_twice_the_time(make_record, tmp_path):
    records = [make_record(seed=seed, num_tasks=1, num_episodes=2) for seed in range(600)]
    paths = publish(tmp_path / "published", *records)

    def once(count, turn):
        with Leaderboard(tmp_path / f"{count}-{turn}.sqlite") as board:
            started = time.process_time()
            assert len(list(import_files(board, paths[:count]))) == count
            return time.process_time() - started

    def seconds(count):  # the least of two: what disturbs one doesn't lie in the program
        return min(once(count, turn) for turn in range(2))

    seconds(1)  # what is imported and compiled once
    assert seconds(600) < 6 * seconds(150)  # four times where it is linear, sixteen where it is quadratic
