"""Families of every kind, by others, through the harness: dynamics, two tasks, discrete actions, a protocol of their own."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icrl_registry import discovery
from icrl_registry.testing.conformance import run_checks

PROJECT = Path(__file__).parents[1] / "third_party"


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The third-party distribution, found in this process."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = tmp_path / "site" / "icrl_third_party-0.3.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: icrl-third-party\nVersion: 0.3.0\n")
    groups = {name: points for name, points in project["entry-points"].items() if name != "icrl_bench.hooks"}
    lines = [
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
        for name, points in groups.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    for folder in (PROJECT, metadata.parent):
        monkeypatch.syspath_prepend(str(folder))
    discovery._scan.cache_clear()
    yield
    discovery._scan.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "icrl_third_party"]:
        sys.modules.pop(name)


@pytest.mark.parametrize("name", ["switched-motor", "two-ends", "dark-corridor"])
def test_they_keep_the_contract(third_party: None, name: str):
    failed = [result for result in run_checks(discovery.load("environment", name)) if not result.passed]
    assert not failed


@pytest.mark.parametrize(
    ("environment", "method", "tasks"),
    [
        ("switched-motor", "ad-moving-average", None),
        ("two-ends", "best-so-far", [[-1.0], [1.0]]),
        ("dark-corridor", "dpt-moving-average", [[1.0], [8.0]]),
    ],
)
def test_they_run_under_the_protocol_that_they_ship(
    third_party: None, inline: None, cli: Callable[..., Any], environment: str, method: str, tasks: Any
):
    done = cli("run", "-m", method, "-e", environment, "--device", "cpu", "--json")
    assert done.code == 0, done.out
    (row,) = done.document["runs"]
    assert row["protocol"].startswith("corridors-v1")
    listed = cli("tasks", environment, "--json").document["tasks"]
    assert tasks in (None, listed["test"])
    assert len(row["returns"]) == len(listed["test"]) == 2
    if environment == "two-ends":
        assert listed["train"] == listed["validation"] == listed["test"]


def test_a_method_of_continuous_actions_is_refused_before_anything_is_collected(
    third_party: None, cli: Callable[..., Any], tmp_path: Path
):
    done = cli("run", "-m", "best-so-far", "-e", "dark-corridor", "--json")
    assert done.code == 2
    assert "discrete actions, which the method best-so-far doesn't learn" in done.error["message"]
    assert not list((tmp_path / "home").rglob("history.safetensors"))


def test_more_tasks_than_a_family_has_are_refused_with_what_to_write(third_party: None, cli: Callable[..., Any]):
    done = cli("run", "-m", "best-so-far", "-e", "two-ends", "-p", "laptop", "--json")
    assert done.code == 2
    assert "two-ends-v1 has 2 tasks, but 45 different ones are asked for" in done.error["message"]
    assert 'validation = "train"' in done.error["hint"]


def undeclared_dynamics(families: Any) -> tuple[type, str, Any]:
    return families.SwitchedMotor, "varies", ("reward",)


def no_docstring(families: Any) -> tuple[type, str, Any]:
    return families.SwitchedMotor, "__doc__", None


def wrong_size(families: Any) -> tuple[type, str, Any]:
    return families.SwitchedMotor, "spec", replace(families.SwitchedMotor.spec, observation_size=3)


def no_end(families: Any) -> tuple[type, str, Any]:
    """Without a time limit."""
    return families.SwitchedMotor, "make", lambda self, task, render_mode=None: families.Line(0.8, task.parameters[0])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (undeclared_dynamics, "breaks its contract (hides_its_task): the observation differs between two tasks"),
        (no_docstring, "has no docstring"),
        (wrong_size, "(has_the_spaces_of_its_spec): observations have shape (1,)"),
        (no_end, "(truncates_at_its_horizon): no truncation within 21 steps"),
    ],
)
def test_a_run_refuses_what_the_check_refuses_before_anything_is_collected(
    third_party: None,
    cli: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Any], tuple[type, str, Any]],
    words: str,
):
    families = pytest.importorskip("icrl_third_party.families")
    monkeypatch.setattr(*fault(families))
    failed = [each for each in run_checks(discovery.load("environment", "switched-motor")) if not each.passed]
    done = cli("run", "-m", "best-so-far", "-e", "switched-motor", "--json")
    assert done.code == 4
    assert failed[0].message.splitlines()[0][:60] in done.error["message"]  # the check's own words
    assert words in done.error["message"]
    assert "icrl-bench plugins check switched-motor-v1" in done.error["hint"]
    assert not list((tmp_path / "home").rglob("history.safetensors"))
