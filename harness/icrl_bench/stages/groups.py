"""Groups of tasks that a source trains together: how they are cut, and what a worker does with one.

Groups are cut from the full list of tasks, so that who trains with whom never depends on what is there already or on who
asks: a group with anything missing is run again, from the progress that its source kept, and only what is missing is stored.
"""

from __future__ import annotations

import itertools
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from icrl_bench.artefacts.checkpoints import KeptProgress
from icrl_bench.artefacts.histories import dataset_kind, save_run
from icrl_bench.artefacts.store import Store
from icrl_bench.machine.workers import report_units
from icrl_bench.seeding import collect_seed
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Environment, Source, SourceRun, Task
from icrl_registry.errors import PluginError

STEPS = "env_steps"  # the counter in a group's progress


@dataclass(frozen=True)
class GroupJob:
    """All that collecting one group takes, wherever it is done."""

    address: str  # of the data set
    environment: type[Environment]
    environment_id: str
    environment_config: ComponentConfig
    source: type[Source]
    source_id: str
    source_config: ComponentConfig
    data_seed: int
    tasks: Sequence[Task]
    save_every: float  # seconds between two saves of the source's progress

    def progress(self, store: Store) -> KeptProgress:
        """Where the source keeps its progress with this group."""
        return group_progress(store, self.address, self.tasks, self.save_every)


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


def group_progress(store: Store, address: str, group: Sequence[Task], save_every: float = 0.0) -> KeptProgress:
    """Where a source keeps its progress with a group, which its first task names."""
    return KeptProgress(store, f"{address}-{group[0].label}", save_every)


def collect_group(root: Path, job: GroupJob) -> list[str]:
    """Runs in a worker: one `Source.collect` call, each missing task's artefact written as soon as it is there.

    Whoever else wants to collect the group waits, and then finds it collected.
    """
    store, labels = Store(root), [task.label for task in job.tasks]
    with store.lock(dataset_kind(job.address), labels[0]):
        if not all(store.exists(dataset_kind(job.address), label) for label in labels):
            _collect(store, job)
    return labels


def _collect(store: Store, job: GroupJob) -> None:
    environment = job.environment(job.environment_config)
    source = job.source(job.source_config)
    kept = job.progress(store)
    about = {
        "environment": job.environment_id,
        "source": job.source_id,
        "source_config": job.source_config.model_dump(mode="json"),
        "versions": _versions(),
        "group": [task.label for task in job.tasks],
    }

    def report(steps: int) -> None:
        kept.counters[STEPS] = kept.counters.get(STEPS, 0) + steps
        report_units(steps)

    seeds = [collect_seed(job.data_seed, task) for task in job.tasks]
    runs = iter(source.collect(environment, job.tasks, seeds, report, kept))
    for task, seed in zip(job.tasks, seeds, strict=True):
        run = _next_run(runs, task, job.source_id)
        if not store.exists(dataset_kind(job.address), task.label):
            seconds = round(kept.seconds / len(job.tasks), 3)  # its share of the group's wall-clock
            save_run(store, job.address, run, {**about, "seed_entropy": seed.entropy, "seconds": seconds})
    kept.discard()


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


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("icrl-bench", "torch", "numpy", "gymnasium", "mujoco", "stable-baselines3"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
