"""Any signal to a run or to one of its workers, at any moment: nothing is left running, and the same command ends the same.

The moment is drawn over the whole length of a run, from nothing or from histories that are there already, so that collecting
(alone and in populations), training, adapting and recording are all hit. `tests/harness/test_kill.py` and `test_crashes.py`
hold the same for chosen moments within each stage and for each operation on a file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .commands.running import PROTOCOLS, Ended, Running, Starter, database_problems, left_over, tensors_below
from .ledgers.ledger import Ledger, Size

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGSTOP")
INTERRUPTED, FAILED = 130, 1
SLOW_TOY = ("--set", "method.pause=0.02", "--set", "method.checkpoint_every=2")
CASES = {
    "toy": ("toy-method", "toy-point", "toy", *SLOW_TOY, "--set", "source.pause=0.2"),
    "toy population": ("toy-online", "toy-point", "population", *SLOW_TOY, "--set", "source.pause=0.05"),
    "ad": ("ad-gru", "reacher-goal", "tiny"),
    "macaw": ("macaw", "reacher-goal", "tiny"),
    "mql": ("mql", "reacher-goal", "tiny"),
}
AFTER_COLLECTING = ("checkpoints", "adaptations", "floors", "progress", "leaderboard.sqlite")


@dataclass(frozen=True)
class Whole:
    """What an undisturbed run leaves, and how long it takes."""

    row: dict[str, Any]
    tensors: dict[str, bytes]
    seconds: float


@dataclass
class Case:
    """A command, and how it ends when nobody disturbs it."""

    name: str
    starter: Starter
    folder: Path

    def command(self, home: Path, jobs: int = 2) -> list[str | Path]:
        method, environment, name, *settings = CASES[self.name]
        protocol = (self.starter.site if name == "toy" else PROTOCOLS) / f"{name}.toml"
        chosen = ["run", "-m", method, "-e", environment, "-p", protocol, *settings]
        return [*chosen, "--device", "cpu", "--jobs", str(jobs), "--home", home, "--json"]

    @cached_property
    def collected(self) -> Path:
        """A home with the histories alone. Cases with one protocol share them."""
        protocol = CASES[self.name][2]
        shared, home = self.folder.parent / f"histories-{protocol}", self.folder / "collected"
        self.starter.warm(self.command(shared, 1))
        self.usual = os.listdir(self.starter.temporary)  # what libraries leave in any case
        shutil.copytree(shared, home)
        for name in AFTER_COLLECTING:
            path = home / name
            path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
        return home

    @cached_property
    def from_histories(self) -> Whole:
        """An undisturbed run with the histories there."""
        home = self.folder / "whole"
        shutil.copytree(self.collected, home)
        return self._run(home)

    @cached_property
    def from_nothing(self) -> Whole:
        """An undisturbed run from nothing. It leaves less where another method of the protocol needs more histories."""
        assert self.collected.is_dir()
        return self._run(self.folder / "from-nothing")

    def _run(self, home: Path) -> Whole:
        began = time.monotonic()
        row = self.starter.run(self.command(home, 1), self.folder).row()
        return Whole(row, tensors_below(home), time.monotonic() - began)


@dataclass(frozen=True)
class Blow:
    """Which signal meets whom, at which share of a run's length."""

    signal: str
    worker: bool
    moment: float

    def strike(self, running: Running, seconds: float) -> Ended:
        """Sends the signal in its moment, waits for the end."""
        time.sleep(self.moment * seconds)
        victim = running.pid
        if self.worker:
            end = time.monotonic() + seconds
            while not (workers := running.workers()) and running.members() and time.monotonic() < end:
                time.sleep(0.01)
            victim = workers[int(self.moment * 997) % len(workers)] if workers else victim
        self._send(victim)
        return running.wait()

    def _send(self, victim: int) -> None:
        try:
            os.kill(victim, getattr(signal, self.signal))
            if self.signal == "SIGSTOP":
                time.sleep(0.2)
                os.kill(victim, signal.SIGCONT)
        except ProcessLookupError:
            return  # a worker that has ended meanwhile

    def allows(self, ended: Ended) -> bool:
        """Whether a run may end so: as the signal says, or undisturbed where it came late."""
        if ended.status == 0:
            return True
        if ended.status == INTERRUPTED:
            return self.signal == "SIGINT"
        if self.worker and ended.status == FAILED:
            return self.signal != "SIGSTOP" and "the same command" in json.loads(ended.out)["error"]["hint"]
        return ended.status == -getattr(signal, self.signal)


def problem(case: Case, home: Path, blows: list[Blow], whole: Whole, jobs: int) -> str | None:
    """What went wrong with a run that was struck, and with the run after it."""
    starter, out = case.starter, home.with_suffix(".out")
    for blow in blows:
        running = starter.start(case.command(home), out)
        ended = blow.strike(running, whole.seconds)
        if not blow.allows(ended) or "Traceback" in ended.said:
            return f"ended with {ended.status}: {ended.said[-400:]}"
        if left := running.orphans():
            return f"left processes {left}"
        if (verified := starter.run(["data", "verify", "--home", home, "--json"], out)).status != 0:
            return f"left damage: {verified.said[-400:]}"
        if wrong := database_problems(home):
            return f"left a damaged leaderboard: {wrong}"
    return _problem_of_the_next(case, whole, starter.run(case.command(home, jobs), out), home)


def _problem_of_the_next(case: Case, whole: Whole, ended: Ended, home: Path) -> str | None:
    if ended.status != 0:
        return f"the next run ended with {ended.status}: {ended.said[-400:]}"
    if ended.row() != whole.row:
        return "the next run's row differs"
    if (found := tensors_below(home)) != whole.tensors:
        names = found.keys() | whole.tensors.keys()
        return f"other bytes: {sorted(name for name in names if found.get(name) != whole.tensors.get(name))}"
    if left := set(left_over(home, case.starter.temporary)) - set(case.usual):
        return f"temporary files {sorted(left)}"
    return "; ".join(database_problems(home)) or None


@pytest.fixture(scope="module")
def cases(starter: Starter, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    return {name: Case(name, starter, tmp_path_factory.mktemp(name.replace(" ", "-"))) for name in CASES}


def draw(generator: np.random.Generator, trial: int, from_nothing: bool) -> list[Blow]:
    """One blow, sometimes two: every signal in turn, workers where there are any."""
    return [
        Blow(SIGNALS[(trial + nth) % len(SIGNALS)], from_nothing and generator.random() < 0.4, generator.random())
        for nth in range(1 + (generator.random() < 0.3))
    ]


@pytest.mark.parametrize("name", CASES)
def test_struck_it_ends_as_if_never_struck(
    name: str, cases: dict[str, Case], size: Size, ledger: Ledger, tmp_path: Path
):
    case, generator = cases[name], np.random.default_rng([21, *name.encode()])
    toy = name.startswith("toy")
    trials = size.pick(3 if toy else 2, 8 if toy else 7, 60)
    for trial in range(trials):
        from_nothing = trial % 2 == 1 if toy else trial % 9 == 4  # the three methods collect in the same way
        home = tmp_path / f"home{trial}"
        if not from_nothing:
            shutil.copytree(case.collected, home)
        whole = case.from_nothing if from_nothing else case.from_histories
        blows = draw(generator, trial + len(name), from_nothing)
        wrong = problem(case, home, blows, whole, 1 + trial % 2)
        ledger.note(f"{name}, trial {trial}, {blows}", wrong)
        if not wrong:  # else it is kept, for whoever looks into it
            shutil.rmtree(home, ignore_errors=True)
    ledger.settle()
