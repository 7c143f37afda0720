"""SIGKILL in every stage of the real pipeline, then the same command: the same returns and the same bytes.

AD with a GRU on Reacher-Goal, SAC histories, real workers; only the budgets are tiny. The process kills itself at a moment
drawn at random within the stage (`toy_kill.py`).
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

PROTOCOL = Path(__file__).parent / "tiny.toml"
TIMEOUT = 600
Spawn = Callable[..., "subprocess.Popen[str]"]

#: What a stage has done when it is killed, drawn from these numbers of units. 4 tasks of 400 steps; 8 updates with progress
#: kept at 3 and 6; 2 tasks of 2 episodes of 50 steps.
UNITS = {"collect": range(100, 1500), "train": range(1, 8), "adapt": range(2, 200)}


def arguments(home: Path, jobs: int = 2) -> list[str | Path]:
    fixed = ["run", "-m", "ad-gru", "-e", "reacher-goal", "-p", PROTOCOL, "--device", "cpu", "--json"]
    return [*fixed, "--home", home, "--jobs", str(jobs)]


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    (row,) = json.loads(out)["runs"]
    return row


def tensors_below(home: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*.safetensors")}
    assert sum(name.endswith("history.safetensors") for name in found) == 4
    assert sum(name.endswith("checkpoint.safetensors") for name in found) == 1
    assert not any(name.startswith("progress") for name in found)
    return found


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("seconds", "created_at")}


def test_killed_in_every_stage_it_ends_as_if_never_killed(spawn: Spawn, tmp_path: Path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = finish(spawn(*arguments(whole, jobs=1)))
    generator = np.random.default_rng(20)
    for stage, units in UNITS.items():
        moment = f"{stage}:{generator.choice(units)}"
        process = spawn(*arguments(killed), TOY_KILL=moment)
        _, err = process.communicate(timeout=TIMEOUT)
        assert process.returncode == -signal.SIGKILL, f"{moment}: {err}"
        assert not list(killed.glob("adaptations/*/manifest.json")), moment
    row = finish(spawn(*arguments(killed)))
    assert row["returns"] == expected["returns"]
    assert comparable(row) == comparable(expected)
    # one worker here, two there, so this is also: the number of jobs and a second time change no byte
    assert tensors_below(killed) == tensors_below(whole)


def test_interrupted_it_goes_on(spawn: Spawn, tmp_path: Path):
    """Ctrl-C while tasks are collected: exit code 130, and what was collected is not collected again."""
    home = tmp_path / "home"
    process = spawn(*arguments(home, jobs=1), "--seeds", "1")
    while process.poll() is None and not list(home.glob("datasets/*/train-000/manifest.json")):
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, err
    assert json.loads(out)["error"]["kind"] == "interrupted"
    (manifest,) = home.glob("datasets/*/train-000/manifest.json")
    before = manifest.stat().st_mtime_ns
    assert finish(spawn(*arguments(home), "--seeds", "1"))["seed"] == 1
    assert manifest.stat().st_mtime_ns == before
