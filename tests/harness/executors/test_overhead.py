"""What an executor adds to units that take a known time, and how much faster two workers are than one.

`pytest tests/soak/conftest.py tests/harness/executors/test_overhead.py --soak full -m 'not gpu' -s` measures at full size, and
prints the lines of docs/many-machines.md. Two workers are compared with one on a machine that does nothing else, or not at all.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from icrl_bench.artefacts.store import Store
from icrl_bench.executors.code import code_of
from icrl_bench.executors.contract import Executor
from icrl_bench.executors.local import LocalExecutor
from icrl_bench.executors.ray import RayExecutor
from icrl_bench.stages.stage import Unit

from .timed import timed_units

UNIT_SECONDS, SHARE = 30.0, 0.02
SLOTS, WARM_SECONDS = 2, 3.0
GRID = (
    "grid", "-p", "smoke", "--envs", "reacher-goal,pusher-goal,half-cheetah-vel,ant-dir",
    "--methods", "ad-gru,task-blind,macaw", "--seeds", "0,1", "--no-certify", "--device", "cpu", "--json",
)  # fmt: skip
SPEED_UP = 1.7
MOST_BUSY = 0.05  # of the cores' time that others may use


def units_of(names: Sequence[str], seconds: float, reads: Sequence[str] = ()) -> list[Unit]:
    from timed_units import KIND, rest  # as the workers import it

    needs = tuple((KIND, name) for name in reads)
    return [Unit(name, (name,), rest, (name, seconds), ((KIND, name),), needs) for name in names]


def seconds_to_make(executor: Executor, units: Sequence[Unit]) -> float:
    """From handing over the first unit to having the last one's artefact."""
    began, left = time.monotonic(), len(units)
    for unit in units:
        executor.submit(unit)
    while left:
        for outcome in executor.wait(0.2):
            assert outcome.failure is None, outcome.failure
            left -= 1
    return time.monotonic() - began


def warm_up(executor: Executor) -> list[str]:
    """Units until as many are made at once as there are slots; their names. Processes are kept, and import once."""
    made: list[str] = []
    for attempt in range(30):
        names = [f"first-{attempt}-{number}" for number in range(SLOTS)]
        made += names
        if seconds_to_make(executor, units_of(names, WARM_SECONDS)) < 1.5 * WARM_SECONDS:
            return made
    raise AssertionError(f"{SLOTS} processes never worked side by side")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["local", "ray"])
def test_an_executor_adds_little_to_a_unit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    """Units that sleep, each with an artefact to read and one to make; the processes are there, as they are kept."""
    full = request.config.getoption("--soak", "small") == "full"
    seconds, each = (UNIT_SECONDS, 10) if full else (1.0, 4)
    folder = str(Path(timed_units.__file__).parent)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", folder)
    monkeypatch.setenv("ICRL_BENCH_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 by default, with which all others of a machine go first
    home = tmp_path / "home"
    made: Executor = LocalExecutor(home, SLOTS) if name == "local" else RayExecutor(home, code_of([]), jobs=SLOTS)
    with made as executor:
        first = warm_up(executor)
        names = [f"unit-{number}" for number in range(SLOTS * each)]
        took = seconds_to_make(executor, units_of(names, seconds, reads=first[:SLOTS]))
    added = (took - seconds * each) / each
    share = f"{added / UNIT_SECONDS:.2%} of {UNIT_SECONDS:g} s"
    print(f"\n| {name} | {len(names)} of {seconds:g} s | {added:.2f} s | {share} |")  # noqa: T201
    assert sorted(Store(home).names(timed_units.KIND)) == sorted([*first, *names])
    assert -0.01 < added < SHARE * UNIT_SECONDS


def busy_share(seconds: float) -> float:
    """Share of the cores' time that something uses."""

    def look() -> tuple[int, int]:
        numbers = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]

    total, idle = look()
    time.sleep(seconds)
    later_total, later_idle = look()
    return 1 - (later_idle - idle) / max(1, later_total - total)


@pytest.mark.soak
@pytest.mark.parametrize("name", ["local", "ray"])
def test_two_workers_are_faster_than_one(name: str, spawn: Any, tmp_path: Path):
    """The smoke grid of 24 rows in units of one thread; two workers go first, so what is compiled is theirs to compile."""
    assert len(os.sched_getaffinity(0)) >= 2
    took = {}
    for jobs in (2, 1):
        busy = busy_share(10.0)
        assert busy < MOST_BUSY, f"{busy:.0%} of the cores are used by something else: measure when nothing else runs"
        began = time.monotonic()
        process: subprocess.Popen[str] = spawn(
            *GRID, "--executor", name, "--jobs", str(jobs), "--home", tmp_path / str(jobs)
        )
        _, said = process.communicate(timeout=3600)
        took[jobs] = time.monotonic() - began
        assert process.returncode == 0, said
    speed_up = took[1] / took[2]
    print(f"\n| {name} | {took[1]:.0f} s | {took[2]:.0f} s | {speed_up:.2f} |")  # noqa: T201
    assert speed_up >= SPEED_UP
