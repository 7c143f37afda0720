"""Walks a plan through its stages for every seed and records the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icrl_bench.artefacts.store import Store
from icrl_bench.executors.contract import Executor
from icrl_bench.planning import Plan
from icrl_bench.runs.dispatch import make_all
from icrl_bench.runs.durations.estimate import Speeds, total_of
from icrl_bench.runs.overview import Overview
from icrl_bench.stages.adapt import Adapt
from icrl_bench.stages.collect import Collect
from icrl_bench.stages.floors import Floors
from icrl_bench.stages.record import Record
from icrl_bench.stages.stage import Context, Stage, in_order
from icrl_leaderboards.runs.record import RunRecord
from icrl_registry.contracts import SPLITS
from icrl_registry.errors import BenchError


def stages_of(plan: Plan, seeds: Sequence[int]) -> list[Stage[Any]]:
    """All stages of the plan's rows, each once and after its inputs; what the seeds share comes first."""
    return in_order([Record(plan, seed) for seed in seeds])


def execute(plan: Plan, seeds: Sequence[int], context: Context) -> list[RunRecord]:
    """Makes what is missing and returns the rows of all seeds, recorded."""
    before = len(context.records)
    ids = run_ids([Record(plan, seed) for seed in seeds])
    for stage in stages_of(plan, seeds):
        context.progress.run_id = ids[stage.key]
        stage.ensure(context)
    return context.records[before:]


def run_ids(records: Sequence[Record]) -> dict[tuple[str, ...], str]:
    """Key of a stage → id of the first run that waits for it, which the events of a shared stage name."""
    ids: dict[tuple[str, ...], str] = {}
    for record in records:
        for stage in in_order([record]):
            ids.setdefault(stage.key, record.run_id)
    return ids


def execute_together(
    plan: Plan, seeds: Sequence[int], context: Context, executor: Executor, overview: Overview
) -> list[RunRecord]:
    """As `execute`, with the seeds' stages side by side in an executor.

    Raises:
        BenchError: some of the rows could not be made; the others are recorded.
    """
    before = len(context.records)
    stages = stages_of(plan, seeds)
    failed = make_all(stages, executor, context, overview)
    lost = {stage.seed: failed[stage.key] for stage in stages if stage.needs_leaderboard and stage.key in failed}
    if lost:
        seeds_lost = ", ".join(f"{seed}" for seed in lost)
        failure = next(iter(lost.values()))
        raise BenchError(
            f"{len(lost)} of {len(seeds)} rows were not made, of seed {seeds_lost}: {failure.text}", failure.hint
        )
    return sorted(context.records[before:], key=lambda record: list(seeds).index(record.seed))


def names_of(stages: Sequence[Stage[Any]]) -> list[str]:
    """What the progress bar counts."""
    return [stage.name for stage in stages if stage.is_shown]


def describe_plan(plan: Plan, seeds: Sequence[int], store: Store, speeds: Speeds | None = None) -> dict[str, Any]:
    """The plan in words and numbers, and which of its artefacts are there already; with `speeds` how long the rest takes."""
    stages = [stage for stage in stages_of(plan, seeds) if stage.is_shown]
    total = total_of(stages, speeds) if speeds is not None else None
    collect, floors, rows = Collect(plan), Floors(plan), [Adapt(plan, seed) for seed in seeds]
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
        "source_note": plan.source_note,
        "steps_per_task": plan.make_source().total_steps(),
        "stages": [
            {
                "kind": stage.kind,
                "seed": stage.seed,
                "address": stage.address,
                "status": stage.status(store),
                **(total.durations[index].as_json() if total is not None else {}),
            }
            for index, stage in enumerate(stages)
        ],
        **({"duration": total.as_json()} if total is not None else {}),
        "dataset": collect.address,
        "histories_done": collect.counts(store)[0],
        "floors_done": floors.done(store),
        "runs": [
            {
                "seed": adapt.seed,
                "run_id": adapt.address,
                "checkpoint": adapt.train.address,
                "trained": adapt.train.done(store),
                "adapted": adapt.done(store),
            }
            for adapt in rows
        ],
        "config": plan.config,
        "plugins": [
            {"kind": plugin.entry.kind, "name": plugin.entry.name, "content_hash": plugin.content_hash[:16]}
            for plugin in plan.plugins
        ],
    }
