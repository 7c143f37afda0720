"""Stages and executors that cost nothing: what is left is the walk itself."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from icrl_bench.executors.contract import RETRIES, Executor, Failure, UnitKey, UnitOutcome
from icrl_bench.machine.progress import Progress
from icrl_bench.stages.stage import Context, Stage, Unit


class FakeStage(Stage[None]):
    """A stage in a home that is a set of names; `parts` units make it."""

    folder, there = "fakes", "it is there"

    def __init__(self, name: str, needs: Iterable[FakeStage] = (), parts: int = 1, seed: int | None = 0) -> None:
        plan: Any = SimpleNamespace(
            environment_id="nowhere", request=SimpleNamespace(method="fake", track="online", device="cpu")
        )
        super().__init__(plan, seed)
        self.label, self.needs, self.parts = name, tuple(needs), parts
        self.kind = name.split()[0]  # type: ignore[misc]

    @property
    def inputs(self) -> tuple[Stage[Any], ...]:
        return self.needs

    def determinants(self) -> dict[str, Any]:
        return {"label": self.label}

    @property
    def key(self) -> tuple[str, ...]:
        return (self.label,)

    @property
    def names(self) -> list[str]:
        return [f"{self.label} {part}" for part in range(self.parts)]

    def done(self, store: Any) -> bool:
        return set(self.names) <= store.made

    def units(self, store: Any) -> list[Unit]:
        return [Unit(name, (name,), store.add, (name,)) for name in self.names if name not in store.made]

    def make(self, context: Context) -> None:
        context.store.made |= set(self.names)  # type: ignore[attr-defined]

    def read(self, store: Any) -> None:
        return None


class FakeRow(FakeStage):
    """Made by the walker."""

    is_shown = False
    needs_leaderboard = True

    def ensure(self, context: Context) -> None:
        context.store.made.add(self.names[0])  # type: ignore[attr-defined]
        context.store.rows.append(self.label)  # type: ignore[attr-defined]


@dataclass
class FakeStore:
    """What has been made, in order."""

    made: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    root: Path = Path("fake")

    def add(self, home: Path, name: str) -> None:
        self.made.add(name)
        self.order.append(name)


def context_with(store: FakeStore) -> Context:
    return Context(store, Progress([], quiet=True))  # type: ignore[arg-type]


@dataclass
class Inline(Executor):
    """Makes one unit a call of `wait`, the oldest first; those of `faults` fail."""

    faults: dict[str, str] = field(default_factory=dict)
    waiting: deque[Unit] = field(default_factory=deque)
    taken: list[str] = field(default_factory=list)
    most: int = 0

    @property
    def slots(self) -> int:
        return 1

    def submit(self, unit: Unit) -> None:
        self.taken.append(unit.name)
        self.waiting.append(unit)
        self.most = max(self.most, len(self.waiting))

    def running(self) -> set[UnitKey]:
        return {unit.key for unit in list(self.waiting)[:1]}

    def wait(self, seconds: float) -> list[UnitOutcome]:
        unit = self.waiting.popleft()
        if unit.name in self.faults:
            return [UnitOutcome(unit, 1.0, "here", Failure(self.faults[unit.name], "", "here", "Traceback ..."))]
        unit.make(Path("fake"))
        return [UnitOutcome(unit, 1.0, "here")]

    def close(self) -> None:
        self.waiting.clear()


class Simulated(Executor):
    """A cluster in simulated time: nodes of some slots each, of which one dies now and then and comes back.

    Units take as long as is drawn; those of a dead node wait for another. Time passes from event to event, so what a walk
    over it costs is the driver's own work.
    """

    def __init__(self, nodes: int, slots: int, seconds: float, failures: float, seed: int = 0) -> None:
        """`failures` is the chance of a unit that its node dies under it; it takes 60 s to come back."""
        self.generator = np.random.default_rng(seed)
        self.slots_each, self.seconds, self.failures = slots, seconds, failures
        self.now = 0.0
        self.free = dict.fromkeys(range(nodes), slots)
        self.waiting: deque[tuple[Unit, int]] = deque()
        self.events: list[tuple[float, int, Any]] = []
        self.flying: dict[UnitKey, int] = {}  # unit → its node
        self.busy_seconds, self.deaths, self.count = 0.0, 0, 0

    @property
    def slots(self) -> int:
        return self.slots_each * len(self.free)

    def submit(self, unit: Unit) -> None:
        self.waiting.append((unit, 0))

    def running(self) -> set[UnitKey]:
        return set(self.flying)

    def wait(self, seconds: float) -> list[UnitOutcome]:
        self._place()
        outcomes: list[UnitOutcome] = []
        until = max(self.now + seconds, self.events[0][0]) if self.events else self.now
        while self.events and self.events[0][0] <= until:
            self.now, _, event = heapq.heappop(self.events)
            outcomes += event()
            self._place()
        return outcomes

    def close(self) -> None:
        self.waiting.clear()

    def _later(self, seconds: float, event: Any) -> None:
        self.count += 1
        heapq.heappush(self.events, (self.now + seconds, self.count, event))

    def _place(self) -> None:
        if not self.waiting:
            return
        for node, free in self.free.items():
            for _ in range(free):
                if not self.waiting:
                    return
                unit, deaths = self.waiting.popleft()
                self.free[node] -= 1
                self.flying[unit.key] = node
                seconds = float(self.generator.exponential(self.seconds))
                self.busy_seconds += seconds
                dies = self.generator.random() < self.failures
                self._later(seconds, lambda node=node, unit=unit, deaths=deaths, seconds=seconds, dies=dies:
                            self._end(node, unit, deaths, seconds, dies))  # fmt: skip

    def _end(self, node: int, unit: Unit, deaths: int, seconds: float, dies: bool) -> list[UnitOutcome]:
        if not dies:
            del self.flying[unit.key]
            self.free[node] += 1
            unit.make(Path("fake"))
            return [UnitOutcome(unit, seconds, f"node {node}")]
        self.deaths += 1
        del self.flying[unit.key]
        self._later(60.0, lambda: self._back(node))
        if deaths >= RETRIES:
            return [UnitOutcome(unit, seconds, f"node {node}", Failure("its node died too often", "", f"node {node}"))]
        self.waiting.appendleft((unit, deaths + 1))
        return []

    def _back(self, node: int) -> list[UnitOutcome]:
        self.free[node] += 1
        return []
