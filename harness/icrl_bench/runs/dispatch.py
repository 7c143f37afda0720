"""Walks the stages of many rows with an executor: whatever has its inputs is made, in the order of the plan, many at a time.

The dependencies are the plan's own, so a data set that many rows wait for is collected once. What a row needs and fails to be
made takes that row with it and nothing else. Rows are recorded here, by the process that walks, as soon as they are made.

A stage's units are asked for when its turn comes, and never more than `WINDOW` are in the executor's hands: what this costs
in memory doesn't grow with the plan.
"""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from icrl_bench.executors.contract import Executor, Failure, UnitKey, UnitOutcome
from icrl_bench.runs.overview import Overview
from icrl_bench.stages.stage import Context, Stage, Unit
from icrl_registry.errors import BenchError

WINDOW = 1000  # units in the executor's hands: plenty for every slot, and for a cluster that grows with what waits
WAIT_SECONDS = 0.2
CLOCK_SECONDS = 10.0  # between two notes of the time that a stage takes


def make_all(
    stages: Sequence[Stage[Any]],
    executor: Executor,
    context: Context,
    overview: Overview,
    made: Callable[[Stage[Any]], None] = lambda stage: None,
    also_after: Mapping[UnitKey, Sequence[UnitKey]] | None = None,
) -> dict[UnitKey, Failure]:
    """Makes what is missing of `stages`, which hold each stage that one of them needs; says which are not there, and why.

    `made` is called with each stage that is there; what it raises is that stage's failure. `also_after` has further stages,
    by key, that one must wait for.
    """
    return _Walk(stages, executor, context, overview, made, also_after or {}).run()


class _Walk:
    """One walk through the graph."""

    def __init__(
        self,
        stages: Sequence[Stage[Any]],
        executor: Executor,
        context: Context,
        overview: Overview,
        made: Callable[[Stage[Any]], None],
        also_after: Mapping[UnitKey, Sequence[UnitKey]],
    ) -> None:
        self.executor, self.context, self.overview, self.made = executor, context, overview, made
        self.stages = list(stages)
        self.place = {stage.key: place for place, stage in enumerate(self.stages)}
        self.failed: dict[UnitKey, Failure] = {}
        self.blockers: dict[UnitKey, set[UnitKey]] = {}  # stage → the stages that it still waits for
        self.dependants: dict[UnitKey, list[UnitKey]] = defaultdict(list)
        self.ready: list[int] = []  # a heap of places: the plan's order
        self.missing: dict[UnitKey, set[UnitKey]] = {}  # opened stage → its units that have not ended
        self.waiting: dict[UnitKey, list[UnitKey]] = {}  # unit in the executor's hands → the stages that wait for it
        self.given_up: dict[UnitKey, Failure] = {}  # unit → why; who needs it later is told at once
        self.clocks: dict[UnitKey, Callable[[float], None]] = {}
        for stage in self.stages:
            needed = {each.key for each in stage.inputs} | set(also_after.get(stage.key, ()))
            self.blockers[stage.key] = needed
            for key in needed:
                self.dependants[key].append(stage.key)
            if not needed:
                heapq.heappush(self.ready, self.place[stage.key])

    def run(self) -> dict[UnitKey, Failure]:
        ticked = time.monotonic()
        while True:
            while self.ready and len(self.waiting) < WINDOW:
                self._open(self.stages[heapq.heappop(self.ready)])
            if not self.waiting:
                return self.failed
            for outcome in self.executor.wait(WAIT_SECONDS):
                self._settle(outcome)
            if time.monotonic() - ticked >= CLOCK_SECONDS:
                ticked = time.monotonic()
                for tick in self.clocks.values():
                    tick(CLOCK_SECONDS)
            self.overview.show(self._stages_under_way)

    def _open(self, stage: Stage[Any]) -> None:
        """The stage's turn: its units are handed over, or it is there."""
        key = stage.key
        if key in self.failed:
            return
        try:
            if stage.stays_here:
                stage.ensure(self.context)
                return self._finish(stage)
            stage.prepare(self.context.store)
            units = stage.units(self.context.store)
        except Exception as error:  # what one row runs into is not the others' trouble
            return self._fail(stage, failure_of(error))
        if not units:
            return self._finish(stage)
        if failure := next((self.given_up[unit.key] for unit in units if unit.key in self.given_up), None):
            return self._fail(stage, failure)
        self.missing[key] = {unit.key for unit in units}
        self.clocks[key] = stage.stopwatch(self.context.store)
        for unit in units:
            self._submit(unit, key)

    def _submit(self, unit: Unit, stage: UnitKey) -> None:
        if unit.key in self.waiting:
            self.waiting[unit.key].append(stage)
            return
        self.waiting[unit.key] = [stage]
        self.overview.submitted(unit)
        self.executor.submit(unit)

    def _settle(self, outcome: UnitOutcome) -> None:
        self.overview.ended(outcome)
        unit = outcome.unit.key
        if outcome.failure is not None:
            self.given_up[unit] = outcome.failure
        for key in self.waiting.pop(unit):
            stage = self.stages[self.place[key]]
            if outcome.failure is not None:
                self._fail(stage, outcome.failure)
            elif key in self.missing:  # else another of its units has failed before
                self.missing[key].discard(unit)
                if not self.missing[key]:
                    self._close(stage)

    def _close(self, stage: Stage[Any]) -> None:
        """All units of a stage have ended well."""
        del self.missing[stage.key]
        self.clocks.pop(stage.key)(0.0)
        if stage.done(self.context.store):
            self._finish(stage)
        else:
            message = f"{stage.title} was made, and is not in {self.context.store.root}"
            self._fail(stage, Failure(message, "see that nothing else removes files there"))

    def _finish(self, stage: Stage[Any]) -> None:
        try:
            self.made(stage)
        except Exception as error:
            return self._fail(stage, failure_of(error))
        self.overview.finished(stage)
        for key in self.dependants[stage.key]:
            self.blockers[key].discard(stage.key)
            if not self.blockers[key]:
                heapq.heappush(self.ready, self.place[key])

    def _fail(self, stage: Stage[Any], failure: Failure) -> None:
        """A stage that cannot be made, and with it all that needs it."""
        lost = [stage.key]
        while lost:
            key = lost.pop()
            if key in self.failed:
                continue
            self.failed[key] = failure
            self.missing.pop(key, None)
            self.clocks.pop(key, None)
            self.overview.lost(self.stages[self.place[key]], failure)
            lost += self.dependants[key]

    def _stages_under_way(self) -> list[UnitKey]:
        return [key for unit in self.executor.running() for key in self.waiting.get(unit, ())]


def failure_of(error: Exception) -> Failure:
    """What the process that walks the plan ran into itself."""
    if isinstance(error, BenchError):
        return Failure(error.message, error.hint)
    return Failure(f"{type(error).__name__}: {error}")
