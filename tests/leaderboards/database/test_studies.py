"""Studies come back equal, replace their namesakes, and put the runs that are there in the order of the grid."""

from __future__ import annotations

import dataclasses
import sqlite3

import pytest

from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.database.studies import Study, StudyRun, cells
from icrl_registry.errors import UsageError


@pytest.fixture
def board(tmp_path):
    with Leaderboard(tmp_path / "board.sqlite") as board:
        yield board


def make_study(name="contexts", lengths=(200, 1000, "full"), seeds=(0, 1)):
    runs = [
        StudyRun(f"run-{length}-{seed}", seed, {"method.context_length": length})
        for length in lengths
        for seed in seeds
    ]
    axes = {"method.context_length": list(lengths)}
    return Study(name, "ad-mamba", "reacher-goal-v1", "laptop-v0", "online", axes, runs, "2026-01-31T12:00:00+00:00")


def test_a_study_comes_back_equal(board, hostile_name):
    assert board.studies() == []
    study = dataclasses.replace(make_study(), axes={"method.b": [True, None, 1.5, [1, 2]], "method.a": [hostile_name]})
    study = dataclasses.replace(study, runs=[StudyRun("r", 2**62, {"method.a": hostile_name}, error=hostile_name)])
    board.record_study(study)
    board.record_study(make_study("another"))
    assert board.studies() == [make_study("another"), study]
    assert list(board.studies("contexts")[0].axes) == ["method.b", "method.a"]  # as typed, not sorted
    assert board.studies("nothing") == []


def test_a_namesake_is_replaced(board, tmp_path):
    board.record_study(make_study())
    shorter = make_study(lengths=(200,))
    board.record_study(shorter)
    assert board.studies() == [shorter]
    with sqlite3.connect(tmp_path / "board.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM study_runs").fetchone() == (2,)
    connection.close()


def test_cells_hold_what_is_recorded(board, make_record):
    study = make_study()
    board.record_study(study)
    for run_id, seed in (("run-full-1", 1), ("run-full-0", 0), ("run-200-1", 1), ("elsewhere", 0)):
        board.record(make_record(seed=seed, run_id=run_id))
    found = cells(study, board.scores(run_ids=study.run_ids))
    assert [cell.label for cell in found] == [f"method.context_length={value}" for value in (200, 1000, "full")]
    assert [[score.run_id for score in cell.scores] for cell in found] == [
        ["run-200-1"],
        [],
        ["run-full-0", "run-full-1"],
    ]
    assert [len(cell.runs) for cell in found] == [2, 2, 2]


def test_recording_a_run_again_keeps_it_in_the_study(board, make_record):
    study = make_study()
    board.record_study(study)
    for _ in range(2):
        board.record(make_record(run_id="run-200-0"))
    assert [len(cell.scores) for cell in cells(study, board.scores(run_ids=study.run_ids))] == [1, 0, 0]


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_names_that_no_database_takes(name):
    with pytest.raises(UsageError, match="characters"):
        make_study(name)
