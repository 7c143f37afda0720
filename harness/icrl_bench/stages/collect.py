"""Stage 1: learning histories of all tasks, collected in parallel processes and kept one by one as they are finished."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from icrl_bench.histories import dataset_kind, save_run
from icrl_bench.plan import Plan
from icrl_bench.progress import Progress
from icrl_bench.seeding import collect_seed
from icrl_bench.store import Store, write_file
from icrl_bench.workers import report_units, run_jobs
from icrl_registry.contracts import SPLITS, Environment, Source, Task
from icrl_registry.errors import PluginError

PLAN_FILE = "dataset.json"
SECONDS_FILE = "seconds.txt"


def collect_histories(store: Store, plan: Plan, num_workers: int, progress: Progress) -> float:
    """Collects what is missing; returns the seconds that collecting this data set has taken so far."""
    kind = dataset_kind(plan.dataset_address)
    with store.lock("datasets", plan.dataset_address, progress.message):
        _describe(store, plan)
        tasks = [task for split in SPLITS for task in plan.tasks[split]]
        missing = [task for task in tasks if not store.exists(kind, task.label)]
        if missing:
            _collect(store, plan, tasks, missing, num_workers, progress)
        else:
            progress.skip("collect", f"all {len(tasks)} histories are there")
        return _seconds(store, plan)


def _collect(
    store: Store, plan: Plan, tasks: Sequence[Task], missing: Sequence[Task], num_workers: int, progress: Progress
) -> None:
    source = plan.make_source()
    steps, size = source.total_steps(), source.group_size()
    groups = [missing[first : first + size] for first in range(0, len(missing), size)]
    parts, data_seed = _parts(plan), plan.request.protocol.data_seed
    jobs = [(store.root, plan.dataset_address, parts, data_seed, group) for group in groups]
    done = len(tasks) - len(missing)
    with progress.stage("collect", len(tasks) * steps, "env steps", done * steps) as stage:
        before, since = done * steps, time.monotonic()

        def show(units: int) -> None:
            stage.set(before + units, f"{done}/{len(tasks)} tasks")

        for labels in run_jobs(collect_group, jobs, num_workers, show):
            done += len(labels)
            now = time.monotonic()
            _add_seconds(store, plan, now - since)
            since = now
        stage.set(len(tasks) * steps, f"{done}/{len(tasks)} tasks")


def collect_group(root: Path, address: str, parts: dict[str, Any], data_seed: int, tasks: Sequence[Task]) -> list[str]:
    """Runs in a worker: one `Source.collect` call, each task's artefact written as soon as it is there."""
    store = Store(root)
    environment = cast(Environment, parts["environment"](parts["environment_config"]))
    source = cast(Source, parts["source"](parts["source_config"]))
    seeds = [collect_seed(data_seed, task) for task in tasks]
    about = {
        "environment": parts["environment_id"],
        "source": parts["source_id"],
        "source_config": parts["source_config"].model_dump(mode="json"),
        "versions": _versions(),
    }
    started = time.monotonic()
    runs = iter(source.collect(environment, tasks, seeds, report_units))
    for task, seed in zip(tasks, seeds, strict=True):
        try:
            run = next(runs, None)
        except Exception as error:
            error.add_note(f"{parts['source_id']} on task {task.label}")
            raise
        if run is None or run.history.task != task:
            raise PluginError(
                f"{parts['source_id']} yielded {'nothing' if run is None else run.history.task.label} for {task.label}",
                "`collect` must yield one run for each task, in the order given",
            )
        seconds = round(time.monotonic() - started, 3)
        save_run(store, address, run, {**about, "seed_entropy": seed.entropy, "seconds": seconds})
        started = time.monotonic()
    return [task.label for task in tasks]


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
    except (OSError, ValueError):
        return False


def _seconds(store: Store, plan: Plan) -> float:
    """Wall-clock of collecting so far, over interrupted and resumed calls; what a crash lost is not in it."""
    path = store.path("datasets", plan.dataset_address) / SECONDS_FILE
    try:
        return float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.0


def _add_seconds(store: Store, plan: Plan, seconds: float) -> None:
    path = store.path("datasets", plan.dataset_address) / SECONDS_FILE
    write_file(path, f"{_seconds(store, plan) + seconds:.3f}\n".encode())
