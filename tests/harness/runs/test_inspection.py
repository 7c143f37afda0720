"""`icrl-bench runs`: a run's training, and the settings in which it differs from its protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from icrl_bench.artefacts.checkpoints import CURVE_POINTS, KeptProgress
from icrl_bench.artefacts.store import Store

Run = Callable[..., Any]


def test_one_run(run: Run, cli: Run, tmp_path: Path):
    plain = run("--json").document["runs"][0]
    changed = run("--json", "--set", "method.updates=9", "--set", "adapt.episodes=2").document["runs"][0]
    document = cli("runs", "show", plain["run_id"], "--json").document["run"]
    assert document["differences"] == []
    assert document["training"]["updates"] == 12
    assert document["training"]["curve"][-1]["updates"] == 12
    assert document["seconds"] == plain["seconds"]
    other = cli("runs", "show", changed["run_id"][:8], "--json").document["run"]
    assert other["training"]["updates"] == 9
    assert other["differences"] == [
        {"key": "method.updates", "value": 9, "protocols": 12},
        {"key": "adapt.episodes", "value": 2, "protocols": 3},
    ]
    text = cli("runs", "show", changed["run_id"]).out
    assert "method.updates" in text
    assert "(protocol: 12)" in text
    for file in (tmp_path / "home" / "checkpoints" / changed["checkpoint"]).iterdir():
        file.unlink()
    assert cli("runs", "show", changed["run_id"], "--json").document["run"]["training"] is None
    assert "not in this home folder" in cli("runs", "show", changed["run_id"]).out
    assert cli("leaderboard", "report", "--out", tmp_path / "report").code == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count('<table class="training">') == 1
    folds = {each.partition("<bdi>")[2].partition("</bdi>")[0]: each for each in page.split("<dt>run</dt>")[1:]}
    assert "method.updates = 9 (protocol: 12); adapt.episodes = 2 (protocol: 3)" in folds[changed["run_id"]]
    assert "as the protocol has them" in folds[plain["run_id"]]


def test_runs_by_their_ids(run: Run, cli: Run):
    assert "no run is recorded" in cli("runs", "list").out
    made = run("--json", "--seeds", "0-2").document["runs"]
    listed = cli("runs", "list", "--json").document["runs"]
    assert {each["run_id"] for each in listed} == {each["run_id"] for each in made}
    assert [each["created_at"] for each in listed] == sorted((each["created_at"] for each in listed), reverse=True)
    text = cli("runs", "list", "--limit", "1").out
    assert "2 older ones" in text


def test_the_curve_keeps_every_validation_but_no_endless_list(tmp_path: Path):
    """A training that validates every fiftieth update, and one that reports something new each time."""
    progress = KeptProgress(Store(tmp_path), "a")
    for update in range(1, 2001):
        progress.note(update, 2000, {"loss": 1.0, **({"validation": 2.0} if update % 50 == 49 else {})})
    assert sum("validation" in point for point in progress.curve) == 40
    assert len(progress.curve) <= CURVE_POINTS + 2 * 40
    restless = KeptProgress(Store(tmp_path), "b")
    for update in range(1, 20001):
        restless.note(update, 20000, {f"metric_{update % 7}": 1.0})
    assert len(restless.curve) <= 4 * CURVE_POINTS
