"""Stage 1: learning histories of all tasks, collected in parallel processes and kept one by one as they are finished.

A source that trains tasks together gets them in groups. Groups are cut from the full list of tasks, so that who trains with
whom never depends on what is there already: a group with anything missing is run again, from the progress that its source
kept, and only what is missing is stored.
"""

from __future__ import annotations

import itertools
import json
import platform
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from icrl_bench import checkpoints
from icrl_bench.checkpoints import TrainingProgress
from icrl_bench.histories import dataset_kind, save_run
from icrl_bench.plan import Plan
from icrl_bench.progress import Progress
from icrl_bench.seeding import collect_seed
from icrl_bench.store import Store, write_file
from icrl_bench.workers import report_units, run_jobs
from icrl_registry.contracts import SPLITS, Environment, Source, SourceRun, Task
from icrl_registry.errors import PluginError

PLAN_FILE = "dataset.json"
SECONDS_FILE = "seconds.txt"
TICK_EVERY = 10.0  # seconds; what a kill loses of the wall-clock
STEPS = "env_steps"  # the counter in a group's progress


def collect_histories(store: Store, plan: Plan, num_workers: int, progress: Progress) -> float:
    """Collects what is missing; returns the seconds that collecting this data set has taken so far."""
    kind = dataset_kind(plan.dataset_address)
    clock = WallClock(store, plan.dataset_address)
    with store.lock("datasets", plan.dataset_address, progress.message):
        _describe(store, plan)
        groups = cut_groups([task for split in SPLITS for task in plan.tasks[split]], plan.make_source().group_size())
        missing = [group for group in groups if not all(store.exists(kind, task.label) for task in group)]
        for group in groups:
            if group not in missing:
                _progress(store, plan.dataset_address, group).discard()  # of a run killed at its very end
        if missing:
            _collect(store, plan, groups, missing, num_workers, progress, clock)
        else:
            progress.skip("collect", f"all {sum(map(len, groups))} histories are there")
        return clock.seconds


def cut_groups(tasks: Sequence[Task], size: int) -> list[list[Task]]:
    """The tasks in order, in few groups of at most `size`, all as equal as can be.

    More than one group are an even number, where there are as many tasks: three would leave one of two cores idle for half
    the time. How many cores there are must not matter, since the groups decide the last bits of histories.
    """
    count = -(-len(tasks) // size)
    if count > 1:
        count = min(count + count % 2, len(tasks))
    bounds = [len(tasks) * group // count for group in range(count + 1)]
    return [list(tasks[first:last]) for first, last in itertools.pairwise(bounds)]


def _collect(
    store: Store,
    plan: Plan,
    groups: Sequence[Sequence[Task]],
    missing: Sequence[Sequence[Task]],
    num_workers: int,
    progress: Progress,
    clock: WallClock,
) -> None:
    address, steps = plan.dataset_address, plan.make_source().total_steps()
    parts, data_seed = _parts(plan), plan.request.protocol.data_seed
    jobs = [(store.root, address, parts, data_seed, group, checkpoints.SAVE_EVERY) for group in missing]
    total, largest = sum(map(len, groups)), max(map(len, groups))
    done = total - sum(map(len, missing))
    together = f", {largest} at a time" if largest > 1 else ""
    before = done * steps + sum(_progress(store, address, group).kept_counter(STEPS) for group in missing)
    with progress.stage("collect", total * steps, "env steps", before) as stage:

        def show(units: int) -> None:
            clock.tick()
            stage.set(before + units, f"{done}/{total} tasks{together}")

        for labels in run_jobs(collect_group, jobs, num_workers, show):
            done += len(labels)
        clock.tick(0.0)
        stage.set(total * steps, f"{done}/{total} tasks")


def collect_group(
    root: Path, address: str, parts: dict[str, Any], data_seed: int, tasks: Sequence[Task], save_every: float
) -> list[str]:
    """Runs in a worker: one `Source.collect` call, each missing task's artefact written as soon as it is there."""
    store = Store(root)
    environment = cast(Environment, parts["environment"](parts["environment_config"]))
    source = cast(Source, parts["source"](parts["source_config"]))
    kept = _progress(store, address, tasks, save_every)
    about = {
        "environment": parts["environment_id"],
        "source": parts["source_id"],
        "source_config": parts["source_config"].model_dump(mode="json"),
        "versions": _versions(),
        "group": [task.label for task in tasks],
    }

    def report(steps: int) -> None:
        kept.counters[STEPS] = kept.counters.get(STEPS, 0) + steps
        report_units(steps)

    seeds = [collect_seed(data_seed, task) for task in tasks]
    runs = iter(source.collect(environment, tasks, seeds, report, kept))
    for task, seed in zip(tasks, seeds, strict=True):
        run = _next_run(runs, task, parts["source_id"])
        if not store.exists(dataset_kind(address), task.label):
            seconds = round(kept.seconds / len(tasks), 3)  # its share of the group's wall-clock
            save_run(store, address, run, {**about, "seed_entropy": seed.entropy, "seconds": seconds})
    kept.discard()
    return [task.label for task in tasks]


def _next_run(runs: Iterator[SourceRun], task: Task, source_id: str) -> SourceRun:
    try:
        run = next(runs, None)
    except Exception as error:
        error.add_note(f"{source_id} on task {task.label}")
        raise
    if run is None or run.history.task != task:
        raise PluginError(
            f"{source_id} yielded {'nothing' if run is None else run.history.task.label} for {task.label}",
            "`collect` must yield one run for each task, in the order given",
        )
    return run


def _progress(store: Store, address: str, group: Sequence[Task], save_every: float = 0.0) -> TrainingProgress:
    """Where a source keeps its progress with a group, which its first task names."""
    return TrainingProgress(store, f"{address}-{group[0].label}", save_every)


def _parts(plan: Plan) -> dict[str, Any]:
    return {
        "environment": plan.environment.plugin.component,
        "environment_id": plan.environment_id,
        "environment_config": plan.environment.config,
        "source": plan.source.plugin.component,
        "source_id": plan.source.plugin.entry.name,
        "source_config": plan.source.config,
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("icrl-bench", "torch", "numpy", "gymnasium", "mujoco", "stable-baselines3"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _describe(store: Store, plan: Plan) -> None:
    """Says beside the histories what the data set is, for `icrl-bench data`; again if the file was damaged."""
    path = store.path("datasets", plan.dataset_address) / PLAN_FILE
    if _is_json(path):
        return
    about = {
        "address": plan.dataset_address,
        "environment": plan.environment_id,
        "environment_config": plan.environment.config.model_dump(mode="json"),
        "source": plan.source.plugin.entry.name,
        "source_config": plan.source.config.model_dump(mode="json"),
        "protocol": plan.request.protocol.id,
        "data_seed": plan.request.protocol.data_seed,
        "tasks": {split: [list(task.parameters) for task in plan.tasks[split]] for split in SPLITS},
        "labels": [task.label for split in SPLITS for task in plan.tasks[split]],
    }
    write_file(path, (json.dumps(about, indent=1, sort_keys=True) + "\n").encode())


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError, RecursionError):
        return False


class WallClock:
    """Seconds that collecting a data set has taken, over interrupted and resumed calls, kept beside it."""

    def __init__(self, store: Store, address: str) -> None:
        self.path = store.path("datasets", address) / SECONDS_FILE
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """As last kept."""
        try:
            return float(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0.0

    def tick(self, every: float = TICK_EVERY) -> None:
        """Adds the time since the last tick, if it is more than `every` seconds."""
        now = time.monotonic()
        if now - self._since >= every:
            write_file(self.path, f"{self.seconds + now - self._since:.3f}\n".encode())
            self._since = now
