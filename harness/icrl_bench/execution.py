"""Walks a plan through its stages for every seed and records the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from icrl_bench.checkpoints import KIND as CHECKPOINTS
from icrl_bench.histories import dataset_kind
from icrl_bench.plan import Plan
from icrl_bench.progress import Progress
from icrl_bench.stages.adapt import KIND as ADAPTATIONS
from icrl_bench.stages.adapt import adapt_to_test_tasks
from icrl_bench.stages.collect import collect_histories
from icrl_bench.stages.floors import KIND as FLOORS
from icrl_bench.stages.floors import measure_floors
from icrl_bench.stages.record import make_record
from icrl_bench.stages.train import train_method
from icrl_bench.store import Store
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.runs.record import RunRecord
from icrl_registry.contracts import SPLITS
from icrl_registry.hooks import HookManager


def execute(
    plan: Plan,
    seeds: Sequence[int],
    store: Store,
    leaderboard: Leaderboard,
    num_workers: int,
    progress: Progress,
    hooks: HookManager,
) -> list[RunRecord]:
    """Runs what is missing and returns the rows of all seeds, recorded."""
    from icrl_leaderboards.analysis.summary import summarise_run

    collect_seconds = collect_histories(store, plan, num_workers, progress)
    floors = measure_floors(store, plan, progress)
    records = []
    for seed in seeds:
        progress.run_id = plan.run_address(seed)
        train_method(store, plan, seed, progress)
        adaptation = adapt_to_test_tasks(store, plan, seed, progress)
        record = make_record(store, plan, seed, floors, adaptation, collect_seconds)
        record = _record_once(leaderboard, record)
        hooks.result(summarise_run(record))
        records.append(record)
    return records


def _record_once(leaderboard: Leaderboard, record: RunRecord) -> RunRecord:
    """Records a row unless it is there: one that says the same keeps its date and how it came about."""
    for recorded in leaderboard.runs(run_ids=[record.run_id]):
        circumstances = {name: getattr(record, name) for name in ("created_at", "provenance", "seconds")}
        if replace(recorded, **circumstances) == record:
            return recorded
    leaderboard.record(record)
    return record


def stage_names(seeds: Sequence[int]) -> list[str]:
    """Collect, floors, and training and adaptation for each seed."""
    return ["collect", "floors", *(f"{stage} seed {seed}" for seed in seeds for stage in ("train", "adapt"))]


def describe(plan: Plan, seeds: Sequence[int], store: Store) -> dict[str, object]:
    """The plan in words and numbers, and which of its artefacts are there already."""
    kind = dataset_kind(plan.dataset_address)
    tasks = [task for split in SPLITS for task in plan.tasks[split]]
    return {
        "method": plan.request.method,
        "env": plan.environment_id,
        "protocol": plan.protocol_label,
        "track": plan.request.track,
        "seeds": list(seeds),
        "device": plan.request.device,
        "home": str(store.root),
        "tasks": {split: len(plan.tasks[split]) for split in SPLITS},
        "source": plan.source.plugin.entry.name,
        "steps_per_task": plan.make_source().total_steps(),
        "dataset": plan.dataset_address,
        "histories_done": sum(store.exists(kind, task.label) for task in tasks),
        "floors_done": store.exists(FLOORS, plan.floors_address),
        "runs": [
            {
                "seed": seed,
                "run_id": plan.run_address(seed),
                "checkpoint": plan.checkpoint_address(seed),
                "trained": store.exists(CHECKPOINTS, plan.checkpoint_address(seed)),
                "adapted": store.exists(ADAPTATIONS, plan.run_address(seed)),
            }
            for seed in seeds
        ],
        "config": plan.config,
        "plugins": [
            {"kind": plugin.entry.kind, "name": plugin.entry.name, "content_hash": plugin.content_hash[:16]}
            for plugin in plan.plugins
        ],
    }
