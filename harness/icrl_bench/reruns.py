"""Making a recorded run again: the adaptation from its checkpoint, or the whole run where there is none.

Artefacts that the rerun has to make are kept in the home folder like those of any run; the adaptation itself is always made
anew, and nothing is recorded.
"""

from __future__ import annotations

from icrl_bench.checkpoints import KIND as CHECKPOINTS
from icrl_bench.plan import Plan
from icrl_bench.progress import Progress
from icrl_bench.stages.adapt import run_adaptation
from icrl_bench.stages.collect import collect_histories
from icrl_bench.stages.floors import measure_floors
from icrl_bench.stages.train import train_method
from icrl_bench.store import Store
from icrl_bench.verification import MISMATCH, OK, Check
from icrl_leaderboards.exchange.reruns import VERDICTS, Rerun, compare_returns
from icrl_leaderboards.runs.record import RunRecord


def rerun_stages(seed: int) -> list[str]:
    """Names of the stages that a rerun may go through."""
    return ["collect", "floors", f"train seed {seed}", f"adapt seed {seed}"]


def rerun(
    store: Store, plan: Plan, record: RunRecord, num_workers: int, progress: Progress
) -> tuple[list[Check], Rerun]:
    """Makes the run again and compares every return, and the floors behind the normalised score.

    Raises:
        BenchError: it cannot be made again; the message says why.
    """
    whole = not store.exists(CHECKPOINTS, record.checkpoint)
    if whole or record.track == "offline" or plan.replays_source:
        collect_histories(store, plan, num_workers, progress)
    else:
        progress.skip("collect", "not needed")
    floors = measure_floors(store, plan, progress)
    if whole:
        train_method(store, plan, record.seed, progress)
    else:
        progress.skip(f"train seed {record.seed}", "the checkpoint is there")
    checkpoint = plan.checkpoint_address(record.seed) if whole else record.checkpoint
    adaptation = run_adaptation(store, plan, record.seed, checkpoint, progress)
    compared = compare_returns(record.returns, adaptation.returns)
    return [_check_floors(record, floors), _check_returns(compared, whole)], compared


def _check_floors(record: RunRecord, floors: dict[str, list[float]]) -> Check:
    for name in ("random", "zero_action"):
        compared = compare_returns([[value] for value in getattr(record, name)], [[value] for value in floors[name]])
        if compared.counts["outside"]:
            words = f"{name}: measured {floors[name]}, the row says {getattr(record, name)}"
            return Check("floors", MISMATCH, words)
    return Check("floors", OK, "random and zero action, measured again")


def _check_returns(compared: Rerun, whole: bool) -> Check:
    counts = compared.counts
    made = "the whole run" if whole else "the adaptation from its checkpoint"
    numbers = ", ".join(f"{counts[name]} {'within the interval' if name == 'within' else name}" for name in VERDICTS)
    recorded, repeated = compared.last_episodes
    words = f"{made}: {numbers}; last 10 % {recorded:.4g}, again {repeated:.4g}"
    return Check("rerun", MISMATCH if counts["outside"] else OK, words)
