"""Sources that train tasks together: who trains with whom is fixed, and a killed group goes on where it was."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icrl_bench.artefacts.checkpoints import KeptProgress
from icrl_bench.artefacts.datasets import WallClock
from icrl_bench.artefacts.store import Store
from icrl_bench.stages.groups import cut_groups
from icrl_registry.contracts import Checkpoint
from icrl_registry.testing.toy import ToyPoint

TIMEOUT = 300


@pytest.fixture
def population(toy: Path) -> list[str | Path]:
    """Arguments for runs with the toy population, in eight rounds of 10 steps a task.

    7 tasks are cut into groups of 1, 2, 2 and 2; the third holds the validation tasks, which no row needs.
    """
    protocol = toy / "population.toml"
    protocol.write_text((toy / "toy.toml").read_text().replace("toy-source", "toy-population"))
    return ["-p", protocol]


def histories_below(home: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(home)): path.read_bytes() for path in home.glob("datasets/**/*.safetensors")}
    assert len(found) == 2 * 5
    assert not list(home.glob("progress/*"))
    return found


@pytest.mark.parametrize(("size", "expected"), [(1, [1] * 7), (3, [1, 2, 2, 2]), (4, [3, 4]), (7, [7]), (50, [7])])
def test_groups_are_in_order_few_and_equal(size: int, expected: list[int]):
    tasks = ToyPoint().tasks(7)
    groups = cut_groups(tasks, size)
    assert [len(group) for group in groups] == expected
    assert [task for group in groups for task in group] == tasks


def test_what_is_missing_is_made_again_in_the_same_company(run: Callable[..., Any], population: Any, tmp_path: Path):
    """The toy's histories tell who was in the group. Only what is missing is written."""
    home = tmp_path / "home"
    dataset = run(*population, "--json").document["runs"][0]["dataset"]
    whole, kind, store = histories_below(home), f"datasets/{dataset}", Store(home)
    assert store.manifest(kind, "train-001")["group"] == ["train-001", "train-002"]
    assert store.manifest(kind, "test-001")["group"] == ["test-000", "test-001"]
    before = {path: path.stat().st_mtime_ns for path in home.glob("datasets/*/*/manifest.json")}
    for label in ("train-001", "test-000"):
        store.discard(kind, label)
    again = run(*population).err
    assert "(20 were there before)" not in again
    assert re.search(r"collect: done, 320 env steps in .* \(80 were there before\)", again)  # the other two groups
    assert histories_below(home) == whole
    changed = {path.parent.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {"train-001", "test-000"}


@pytest.mark.slow
def test_a_killed_population_goes_on_within_its_groups(
    spawn: Callable[..., subprocess.Popen[str]], population: Any, tmp_path: Path
):
    """Killed twice, once early and once while the last group is trained, at moments drawn at random."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"

    def command(home: Path, **environment: str) -> tuple[int, str]:
        fixed = ["run", "-m", "toy-method", "-e", "toy-point", "--device", "cpu", "--jobs", "2", *population]
        process = spawn(*fixed, "--set", "source.pause=0.1", "--home", home, **environment)
        error = process.communicate(timeout=TIMEOUT)[1]
        return process.returncode, error

    assert command(whole)[0] == 0
    generator = np.random.default_rng(3)
    for units in (generator.integers(60, 160), generator.integers(250, 340)):
        code, error = command(killed, TOY_KILL=f"collect:{units}")
        assert code == -signal.SIGKILL, error
        assert units > 160 or list(killed.glob("progress/*.safetensors"))
    code, error = command(killed)
    assert code == 0
    before = int(re.findall(r"collect: done, .* \((\d+) were there before\)", error)[0])
    assert before >= 200
    assert histories_below(killed) == histories_below(whole)


def test_progress_is_due_by_time_and_by_what_saving_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = 0.0
    monkeypatch.setattr("icrl_bench.artefacts.checkpoints.time.monotonic", lambda: now)
    kept = KeptProgress(Store(tmp_path), "a", save_every=10.0)
    assert kept.kept_counter("env_steps") == 0
    now = 9.0
    assert not kept.due()
    now = 10.0
    assert kept.due()

    def slow(*arguments: Any) -> None:
        nonlocal now
        now += 3.0

    kept.counters["env_steps"] = 42
    kept.save(Checkpoint({"x": np.zeros(2)}, {}))
    assert KeptProgress(Store(tmp_path), "a").kept_counter("env_steps") == 42
    monkeypatch.setattr("icrl_bench.artefacts.checkpoints.write_file", slow)
    kept.save(Checkpoint({"x": np.zeros(2)}, {}))
    now += 59.0
    assert not kept.due()  # three seconds of saving are to be a twentieth of the time at most
    now += 1.0
    assert kept.due()


def test_progress_of_a_finished_group_is_thrown_away(run: Callable[..., Any], population: Any, tmp_path: Path):
    """A kill between the last history and the end of the group leaves it behind."""
    home = tmp_path / "home"
    dataset = run(*population, "--json").document["runs"][0]["dataset"]
    KeptProgress(Store(home), f"{dataset}-train-000").save(Checkpoint({}, {}))
    assert os.listdir(home / "progress")
    run(*population)
    assert not os.listdir(home / "progress")


def test_the_wall_clock_adds_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr("icrl_bench.artefacts.datasets.time.monotonic", lambda: now)
    clock = WallClock(Store(tmp_path), "a")
    now += 4.0
    clock.tick(5.0)
    assert clock.seconds == 0
    now += 2.0
    clock.tick(5.0)
    assert clock.seconds == 6
    now += 1000.0  # nobody was collecting
    later = WallClock(Store(tmp_path), "a")
    now += 1.0
    later.tick(0.0)
    assert later.seconds == 7
