"""Making a recorded run again: the adaptation from its checkpoint, or the whole run where there is none.

Artefacts that the rerun has to make are kept in the home folder like those of any run; the adaptation itself is always made
anew, and nothing is recorded.
"""

from __future__ import annotations

from typing import Any

from icrl_bench.artefacts.store import Store
from icrl_bench.planning import Plan
from icrl_bench.runs.verification import MISMATCH, OK, VerifiedPart
from icrl_bench.stages.adapt import Adapt
from icrl_bench.stages.floors import FloorReturns
from icrl_bench.stages.stage import Context, Stage, in_order
from icrl_bench.stages.train import Train
from icrl_leaderboards.exchange.reruns import VERDICTS, Rerun, compare_returns
from icrl_leaderboards.runs.record import RunRecord


class RerunPlan:
    """What making a recorded run again goes through."""

    def __init__(self, store: Store, plan: Plan, record: RunRecord) -> None:
        kept = Train(plan, record.seed, address=record.checkpoint)
        self.record = record
        self.whole = not kept.done(store)  # there is no checkpoint to adapt from
        self.adapt = Adapt(plan, record.seed, None if self.whole else kept)
        targets = [self.adapt.floors, *self.adapt.inputs]
        #: A kept checkpoint needs no histories, unless they are what the method adapts from.
        self.stages: list[Stage[Any]] = in_order(targets, skip=lambda stage: stage is kept and not self.whole)

    @property
    def names(self) -> list[str]:
        """What the progress bar counts."""
        return [*(stage.name for stage in self.stages), self.adapt.name]


def rerun(planned: RerunPlan, context: Context) -> tuple[list[VerifiedPart], Rerun]:
    """Makes the run again and compares every return, and the floors behind the normalised score.

    Raises:
        BenchError: it cannot be made again; the message says why.
    """
    for stage in planned.stages:
        stage.ensure(context)
    adaptation, record = planned.adapt.run(context), planned.record
    compared = compare_returns(record.returns, adaptation.returns)
    floors = planned.adapt.floors.read(context.store)
    return [_check_floors(record, floors), _check_returns(compared, planned.whole)], compared


def _check_floors(record: RunRecord, floors: FloorReturns) -> VerifiedPart:
    for name in ("random", "zero_action"):
        compared = compare_returns([[value] for value in getattr(record, name)], [[value] for value in floors[name]])
        if compared.counts["outside"]:
            words = f"{name}: measured {floors[name]}, the row says {getattr(record, name)}"
            return VerifiedPart("floors", MISMATCH, words)
    return VerifiedPart("floors", OK, "random and zero action, measured again")


def _check_returns(compared: Rerun, whole: bool) -> VerifiedPart:
    counts = compared.counts
    made = "the whole run" if whole else "the adaptation from its checkpoint"
    numbers = ", ".join(f"{counts[name]} {'within the interval' if name == 'within' else name}" for name in VERDICTS)
    recorded, repeated = compared.last_episodes
    words = f"{made}: {numbers}; last 10 % {recorded:.4g}, again {repeated:.4g}"
    return VerifiedPart("rerun", MISMATCH if counts["outside"] else OK, words)
