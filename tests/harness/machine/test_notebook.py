"""In a notebook a run shows its progress in one output of the cell, and leaves a line a stage."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from icrl_bench.machine import notebook
from icrl_bench.machine.progress import Progress


class Cell:
    """A cell's outputs as IPython's `display` makes them: each handle's text, as last replaced."""

    def __init__(self) -> None:
        self.outputs: list[list[str]] = []

    def display(self, data: dict[str, str], raw: bool, display_id: bool) -> Any:
        assert raw
        assert display_id
        states = [data["text/plain"]]
        self.outputs.append(states)
        return SimpleNamespace(update=lambda data, raw: states.append(data["text/plain"]))


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    made = Cell()
    shell = SimpleNamespace(kernel=object())
    display = SimpleNamespace(display=made.display)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(notebook, "UPDATE_EVERY", 0.0)
    return made


def work() -> None:
    with Progress(["collect", "train seed 0"]) as progress:
        with progress.stage("collect", 100, "env steps") as stage:
            stage.set(50)
            stage.set(100)
        with progress.stage("train seed 0", 10, "updates") as stage:
            stage.set(5, metrics={"loss": 0.25})
            stage.set(10)


def test_one_output_that_is_replaced(cell: Cell, capsys: pytest.CaptureFixture[str]):
    work()
    (states,) = cell.outputs
    half = next(state for state in states if "50/100 env steps" in state)
    whole, stage = half.splitlines()
    assert "stage 1 of 2" in whole
    assert stage.startswith("collect")
    assert stage.count("█") == notebook.WIDTH // 2
    assert any("loss 0.25" in state for state in states)
    assert "stage 2 of 2" in states[-1]
    assert "collect" not in states[-1]  # a stage that is done leaves its line below
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == ["collect", "train seed 0"]


def test_outside_of_a_notebook_nothing_of_it(monkeypatch: pytest.MonkeyPatch, cell: Cell):
    terminal = SimpleNamespace(get_ipython=lambda: SimpleNamespace())  # IPython in a terminal
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert notebook.notebook_display() is None
    monkeypatch.delitem(sys.modules, "IPython")
    assert notebook.notebook_display() is None
    work()
    assert cell.outputs == []


def test_quiet_is_quiet_there_too(cell: Cell, capsys: pytest.CaptureFixture[str]):
    with Progress(["collect"], quiet=True) as progress, progress.stage("collect", 10, "env steps") as stage:
        stage.set(10)
    assert cell.outputs == []
    assert capsys.readouterr().err == ""
