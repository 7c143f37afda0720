"""`--tracker`: what a tracker is told, whichever way a run is made, and that a failing one hurts nobody."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icrl_bench.artefacts.store import Store
from icrl_bench.runs.tracking import Follower, named

Run = Callable[..., Any]


def notes(home: Path) -> list[list[Any]]:
    return [json.loads(line) for line in (home / "tracking" / "toy-notes" / "notes.jsonl").read_text().splitlines()]


def test_a_tracker_is_told_everything_once(run: Run, tmp_path: Path):
    made = run("--json", "--tracker", "toy-notes").document["runs"][0]
    told = notes(tmp_path / "home")
    assert {each[1] for each in told[:-1]} == {made["run_id"]}
    episodes = [each for each in told if each[0] == "numbers" and each[2] == "episode"]
    assert [each[3] for each in episodes] == [1, 2, 3]
    assert [each[4]["adaptation/return"] for each in episodes] == pytest.approx(np.mean(made["returns"], axis=0))
    updates = [each for each in told if each[0] == "numbers" and each[2] == "updates"]
    assert updates[-1][3] == 12
    assert set(updates[-1][4]) == {"train/loss"}
    assert told[-2:] == [["result", made["run_id"], "toy-method", 12], ["close"]]


def test_a_run_that_is_there_already_gives_the_same_curves(run: Run, tmp_path: Path):
    run("--json")
    run("--json", "--tracker", "toy-notes,toy-notes")
    told = notes(tmp_path / "home")
    assert [each[0] for each in told].count("close") == 1
    assert [each[3] for each in told if each[0] == "numbers" and each[2] == "updates"][-1] == 12
    assert [each[0] for each in told][-2:] == ["result", "close"]


@pytest.mark.parametrize("where", ["numbers", "result", "close"])
def test_a_failing_tracker_says_so_once(run: Run, monkeypatch: pytest.MonkeyPatch, where: str):
    monkeypatch.setenv("TOY_TRACKER_FAILS", where)
    with pytest.warns(UserWarning, match="tracker toy-notes failed") as warned:
        output = run("--json", "--tracker", "toy-notes", "--seeds", "0,1")
    assert output.code == 0
    assert len(output.document["runs"]) == 2
    assert sum("tracker" in str(each.message) for each in warned) == 1


def test_a_tracker_that_is_not_there(run: Run):
    error = run("--json", "--tracker", "toy-note").error
    assert error["kind"] == "unknown_name"
    assert "toy-notes" in error["hint"]


def test_names_of_numbers():
    given = {"loss": 1.0, "validation_mean_return": -3.0, "broken": math.nan}
    assert named(given) == {"train/loss": 1.0, "validation/mean_return": -3.0}


def test_a_validation_is_never_throttled_away(tmp_path: Path):
    """A tracker hears of a training a few times a second; of a metric that comes seldom, whenever it comes."""
    heard: list[tuple[int, dict[str, float]]] = []

    class Listening:
        def numbers(self, run_id, axis, place, values):
            heard.append((place, dict(values)))

    follower = Follower("listening", Listening(), Store(tmp_path))
    for done in range(1, 1001):
        metrics = {"loss": 1.0, **({"validation_mean_return": 2.0} if done % 100 == 50 else {})}
        follower.icrl_progress(
            {
                "event": "stage_progress",
                "run_id": "a",
                "stage": "train",
                "done": done,
                "total": 1000,
                "metrics": metrics,
            }
        )
    assert [place for place, values in heard if "validation/mean_return" in values] == list(range(50, 1000, 100))
    assert heard[-1] == (1000, {"train/loss": 1.0})
    assert len(heard) < 100
