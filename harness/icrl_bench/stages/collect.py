"""Collect: learning histories of the tasks that a row needs, in parallel processes, kept one by one as they are finished.

A data set has one address for all tasks of an environment, and rows need different parts of it: the test tasks' histories are
the oracle of every row, those of the training tasks are wanted by methods that train on them. Each row collects the groups
that hold a task of its own; who needs more collects the rest later, into the same data set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from icrl_bench.artefacts import checkpoints
from icrl_bench.artefacts.datasets import Dataset, WallClock
from icrl_bench.artefacts.histories import dataset_kind
from icrl_bench.artefacts.store import Store, remove_partial
from icrl_bench.machine.workers import run_jobs
from icrl_bench.planning import Plan
from icrl_bench.stages.groups import STEPS, GroupJob, collect_group, cut_groups, group_progress
from icrl_bench.stages.stage import ArtefactName, Context, Stage, Unit
from icrl_registry.contracts import SPLITS, Task
from icrl_registry.testing.conformance import require_conformance

Group = Sequence[Task]


class Collect(Stage[Dataset]):
    """The histories of the tasks that a row of this plan needs; its units are groups of tasks that train together."""

    kind, folder = "collect", "datasets"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)

    def determinants(self) -> dict[str, Any]:
        return {
            "environment": self.plan.environment.determinants,
            "source": self.plan.source.determinants,
            "tasks": {split: [[task.index, *task.parameters] for task in self.plan.tasks[split]] for split in SPLITS},
            "data_seed": self.plan.request.protocol.data_seed,
        }

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, *self.plan.needed_splits)

    @cached_property
    def groups(self) -> list[Group]:
        """The groups of the data set that hold a task whose history the row needs."""
        every = [task for split in SPLITS for task in self.plan.tasks[split]]
        groups = cut_groups(every, self.plan.make_source().group_size())
        return [group for group in groups if any(task.split in self.plan.needed_splits for task in group)]

    @property
    def there(self) -> str:  # type: ignore[override]
        return f"all {sum(map(len, self.groups))} histories are there"

    def done(self, store: Store) -> bool:
        return not self.missing(store)

    def status(self, store: Store) -> str:
        done, total = self.counts(store)
        source, steps = self.plan.source.plugin.entry.name, self.plan.make_source().total_steps()
        return f"{source}, {steps:,} env steps a task: {done} of {total} histories there"

    def counts(self, store: Store) -> tuple[int, int]:
        """How many of the histories are there, and how many there will be."""
        kind, tasks = dataset_kind(self.address), [task for group in self.groups for task in group]
        return sum(store.exists(kind, task.label) for task in tasks), len(tasks)

    def read(self, store: Store) -> Dataset:
        return Dataset(store, self.address)

    @property
    def stays_here(self) -> bool:
        """Recorded data lie in the home folder of whoever imported them."""
        return bool(self.plan.source.plugin.component.is_recorded)

    @property
    def artefacts(self) -> tuple[ArtefactName, ...]:
        return tuple((dataset_kind(self.address), task.label) for group in self.groups for task in group)

    def units(self, store: Store) -> list[Unit]:
        return [
            Unit(
                name=f"{self.title} {group[0].label}",
                key=(self.folder, self.address, group[0].label),
                function=collect_group,
                arguments=(self._job(group),),
                makes=tuple((dataset_kind(self.address), task.label) for task in group),
                progress=group_progress(store, self.address, group).path.name,
            )
            for group in self.missing(store)
        ]

    def stopwatch(self, store: Store) -> Callable[[float], None]:
        return WallClock(store, self.address).tick

    def prepare(self, store: Store) -> None:
        missing = self.missing(store)
        if missing:
            require_conformance(self.plan.environment.plugin)
        self._describe(store)
        remove_partial(WallClock(store, self.address).path)
        for group in self.groups:
            if group not in missing:
                group_progress(store, self.address, group).discard()  # of a run killed at its very end

    def make(self, context: Context) -> None:
        store, steps, missing = context.store, self.plan.make_source().total_steps(), self.missing(context.store)
        clock = WallClock(store, self.address)
        total, largest = sum(map(len, self.groups)), max(map(len, self.groups))
        done = total - sum(map(len, missing))
        together = f", {largest} at a time" if largest > 1 else ""
        before = done * steps
        before += self.kept_steps(store, missing)
        jobs = [(store.root, self._job(group)) for group in missing]
        with context.progress.stage(self.name, total * steps, "env steps", before) as stage:

            def show(units: int) -> None:
                clock.tick()
                stage.set(before + units, f"{done}/{total} tasks{together}")

            verify = f"icrl-bench data verify --home {store.root}"
            for labels in run_jobs(collect_group, jobs, context.num_workers, show, verify):
                done += len(labels)
            clock.tick(0.0)
            stage.set(total * steps, f"{done}/{total} tasks")

    def missing(self, store: Store) -> list[Group]:
        """The groups of which a history is not there; each is trained again as a whole, from its kept progress."""
        kind = dataset_kind(self.address)
        return [group for group in self.groups if not all(store.exists(kind, task.label) for task in group)]

    def kept_steps(self, store: Store, missing: Sequence[Group]) -> int:
        """Environment steps that the kept progress of missing groups has behind it."""
        return sum(group_progress(store, self.address, group).kept_counter(STEPS) for group in missing)

    def _job(self, group: Group) -> GroupJob:
        plan = self.plan
        return GroupJob(
            address=self.address,
            environment=plan.environment.plugin.component,
            environment_id=plan.environment_id,
            environment_config=plan.environment.config,
            source=plan.source.plugin.component,
            source_id=plan.source.plugin.entry.name,
            source_config=plan.source.config,
            data_seed=plan.request.protocol.data_seed,
            tasks=group,
            save_every=checkpoints.SAVE_EVERY,
        )

    def _describe(self, store: Store) -> None:
        plan = self.plan
        tasks = {split: plan.tasks[split] for split in SPLITS}
        self.read(store).describe(
            {
                "address": self.address,
                "environment": plan.environment_id,
                "environment_config": plan.environment.config.model_dump(mode="json"),
                "source": plan.source.plugin.entry.name,
                "source_config": plan.source.config.model_dump(mode="json"),
                "protocol": plan.request.protocol.id,
                "data_seed": plan.request.protocol.data_seed,
                "tasks": {split: [list(task.parameters) for task in members] for split, members in tasks.items()},
                "labels": [task.label for members in tasks.values() for task in members],
            }
        )
