"""`icrl-bench sweep` runs a grid as one study: it resumes, survives failing cells, and ends with a table and a picture."""

from __future__ import annotations

import json

import pytest

from icrl_bench.runs.sweeps import parse_axes
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_registry.errors import UnknownNameError, UsageError


@pytest.fixture
def sweep(toy, inline, cli):
    """`icrl-bench sweep` with the toy parts in this process."""

    def call(*arguments, method="toy-method"):
        fixed = ("sweep", "-m", method, "-e", "toy-point", "-p", toy / "toy.toml", "--device", "cpu")
        return cli(*fixed, *arguments)

    return call


@pytest.fixture
def board(tmp_path):
    with Leaderboard(tmp_path / "home" / "leaderboard.sqlite") as board:
        yield board


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["method.a=1,2.5,full"], {"method.a": [1, 2.5, "full"]}),
        (["method.a=[1,2],[3]", "backbone.b=true"], {"method.a": [[1, 2], [3]], "backbone.b": [True]}),
        (["method.a='x,y',\"z\""], {"method.a": ["x,y", "z"]}),
        (["adapt.rewards= true , shuffled "], {"adapt.rewards": [True, "shuffled"]}),
    ],
)
def test_axes(given, expected):
    assert parse_axes(given) == expected


@pytest.mark.parametrize(
    "given", [["method.a"], ["method.a="], ["a=1"], ["method.a=1", "method.a=2"], ["method.a=1,1"]]
)
def test_axes_that_cannot_be(given):
    with pytest.raises(UsageError):
        parse_axes(given)


def test_an_unknown_section():
    with pytest.raises(UnknownNameError):
        parse_axes(["metod.a=1"])


GRID = ("--vary", "method.updates=2,4", "--vary", "method.step_size=0.1,0.3", "--seeds", "0,1")


def test_a_grid_is_one_study(sweep, board, tmp_path):
    output = sweep(*GRID, "--json")
    assert output.code == 0, output.err
    document = output.document
    assert document["failed"] == 0
    expected = [{"method.updates": u, "method.step_size": s} for u in (2, 4) for s in (0.1, 0.3)]
    assert [cell["settings"] for cell in document["cells"]] == expected
    assert all(cell["status"] == "done" and cell["seeds"] == [0, 1] for cell in document["cells"])
    assert all(cell["last_episodes"]["interval"]["resampled"] == ["seeds", "tasks"] for cell in document["cells"])
    assert "<svg" in (tmp_path / "home" / "studies").glob("*.svg").__next__().read_text()
    (study,) = board.studies()
    assert study.axes == {"method.updates": [2, 4], "method.step_size": [0.1, 0.3]}
    runs = {run.run_id: run for run in board.runs()}
    assert set(runs) == set(study.run_ids)
    for run in study.runs:
        assert runs[run.run_id].variant.items() <= run.settings.items()  # those that differ from the protocol
        assert runs[run.run_id].seed == run.seed
    assert len({run.dataset for run in runs.values()}) == 1


def test_a_cell_is_the_run_that_run_would_make(sweep, run, board):
    sweep("--vary", "method.updates=2", "--vary", "adapt.episodes=2")
    (study,) = board.studies()
    output = run("--set", "method.updates=2", "--set", "adapt.episodes=2", "--json")
    assert [each["run_id"] for each in output.document["runs"]] == study.run_ids


def test_the_same_command_resumes_and_changes_nothing(sweep, board, tmp_path):
    sweep(*GRID)
    before, picture = board.runs(), next((tmp_path / "home" / "studies").glob("*.svg")).read_bytes()
    output = sweep(*GRID)
    assert output.code == 0
    assert output.err.count("the checkpoint is there") == 8
    assert board.runs() == before  # dates and provenance of what was not made again stay
    assert next((tmp_path / "home" / "studies").glob("*.svg")).read_bytes() == picture


def test_a_failing_cell_stops_no_other(sweep, board):
    output = sweep("--vary", "method.fault=raise,print", "--json")
    assert output.code == 1
    failed, done = output.document["cells"]
    assert (failed["status"], done["status"]) == ("failed", "done")
    assert failed["error"]
    assert output.document["failed"] == 1
    (study,) = board.studies()
    assert [run.error is None for run in study.runs] == [False, True]


def test_words(sweep, cli):
    output = sweep("--vary", "method.fault=print,raise", "--name", "faults")
    assert output.code == 1
    assert "cell 2 of 2: method.fault=raise\n" in output.err  # the first one's time was the collection's, for both
    assert "1 of 2 cells done, 1 failed" in output.out
    assert "method.fault=raise failed:" in output.out
    assert max(map(len, output.out.splitlines())) <= 80
    assert "study: faults" in cli("leaderboard", "studies").out
    assert cli("leaderboard", "studies", "faults", "--json").document["cells"][0]["status"] == "done"
    assert cli("leaderboard", "studies", "fautls", "--json").error["hint"].startswith("did you mean faults")


def test_the_time_that_is_left_is_judged_by_cells_that_make_nothing_for_others(sweep):
    """The first one collects for all, the second is like the third; on resuming, what is there already says nothing."""
    output = sweep("--vary", "method.updates=2,3,4")
    assert ["ETA" in line for line in output.err.splitlines() if line.startswith("cell ")] == [False, False, True]
    resumed = sweep("--vary", "method.updates=2,3,4,5")
    assert "ETA of the sweep" not in resumed.err


def test_wrong_settings_are_said_before_anything_runs(sweep, tmp_path):
    output = sweep("--vary", "method.updates=2,-1", "--json")
    assert output.code == 2
    assert not (tmp_path / "home").exists()


def test_a_dry_run_prints_the_cells(sweep, tmp_path):
    document = sweep(*GRID, "--dry-run", "--json").document
    assert len(document["runs"]) == 8
    assert not (tmp_path / "home").exists()
    assert "method.updates=4, method.step_size=0.3, seed 1" in sweep(*GRID, "--dry-run").out


def test_a_picture_with_words_on_its_axis(sweep, tmp_path):
    output = sweep("--vary", "adapt.rewards='true',zero", "--plot", tmp_path / "x.png", "--json")
    assert output.code == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(output.out)["plot"] == str(tmp_path / "x.png")
    assert sweep("--vary", "adapt.rewards='true',zero", "--plot", tmp_path / "x.nothing").code == 2
