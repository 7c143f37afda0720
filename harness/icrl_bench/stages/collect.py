"""Stage 1: learning histories of all tasks, collected in parallel processes and kept one by one as they are finished."""

from __future__ import annotations

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

PLAN_FILE = "dataset.json"


def collect_histories(store: Store, plan: Plan, num_workers: int, progress: Progress) -> float:
    """Collects what is missing; returns the seconds that collecting all tasks of this data set has taken so far."""
    kind = dataset_kind(plan.dataset_address)
    with store.lock("datasets", plan.dataset_address):
        _describe(store, plan)
        tasks = [task for split in SPLITS for task in plan.tasks[split]]
        missing = [task for task in tasks if not store.exists(kind, task.label)]
        source = plan.make_source()
        steps = source.total_steps()
        started = time.monotonic()
        with progress.stage(
            "collect", len(tasks) * steps, "env steps", done=(len(tasks) - len(missing)) * steps
        ) as stage:
            done_before, finished = stage.done, [task.label for task in tasks if task not in missing]
            size = source.group_size()
            groups = [missing[first : first + size] for first in range(0, len(missing), size)]
            parts, data_seed = _parts(plan), plan.request.protocol.data_seed
            jobs = [(store.root, plan.dataset_address, parts, data_seed, group) for group in groups]

            def show(units: int) -> None:
                stage.set(done_before + units, f"{len(finished)}/{len(tasks)} tasks")

            for labels in run_jobs(collect_group, jobs, num_workers, show):
                finished += labels
            show(len(missing) * steps)
        return _add_seconds(store, plan, time.monotonic() - started if missing else 0.0)


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
    for run, seed in zip(source.collect(environment, tasks, seeds, report_units), seeds, strict=True):
        save_run(
            store,
            address,
            run,
            {**about, "seed_entropy": seed.entropy, "seconds": round(time.monotonic() - started, 3)},
        )
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
    """Says beside the histories what the data set is, for `icrl-bench data`."""
    path = store.path("datasets", plan.dataset_address) / PLAN_FILE
    if path.exists():
        return
    import json

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


def _add_seconds(store: Store, plan: Plan, seconds: float) -> float:
    """Wall-clock of collecting, summed over interrupted and resumed calls."""
    path = store.path("datasets", plan.dataset_address) / "seconds.txt"
    total = seconds + (float(path.read_text()) if path.exists() else 0.0)
    if seconds or not path.exists():
        write_file(path, f"{total:.3f}\n".encode())
    return total
