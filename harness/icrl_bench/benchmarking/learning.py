"""`icrl-bench bench learning`: whether two implementations of a source learn alike, on the same tasks with the same settings.

It stands beside `bench sources`: a population is worth its speed only if its learning histories are those of the reference.
Per task it takes the mean return of all episodes (the area under the learning curve, by its length) and that of the last
tenth; each implementation's mean must lie in the other's 95 % interval over tasks (Student's t). Tasks differ more than
implementations do, so the differences task by task are held to their own interval as well, which must hold 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from icrl_bench.benchmarking.sources import REFERENCE
from icrl_bench.machine.workers import report_units, run_jobs
from icrl_bench.seeding import collect_seed
from icrl_registry.benchmarks import Benchmark, BenchmarkReport, Measurement, ReportStep, Requirement, half_interval
from icrl_registry.configuration import ComponentConfig, build_config
from icrl_registry.contracts import Array, Environment, LearningHistory, Source, Task
from icrl_registry.discovery import load
from icrl_registry.protocols.loading import load_protocol
from icrl_registry.protocols.splits import draw_tasks, spread_evenly

AREA, LAST = "mean over all episodes", "mean over the last tenth"
UNIT = "return"


class LearningConfig(ComponentConfig):
    """What is compared."""

    env: str = Field("reacher-goal", description="Environment.")
    source: str = Field("", description="Algorithm; empty: the protocol's.")
    protocol: str = Field("laptop", description="Protocol that gives the tasks and, to its own source, the settings.")
    tasks: int = Field(8, ge=2, description="Training tasks, evenly spaced over the split.")
    steps: int = Field(15_000, ge=100, description="Environment steps per task.")
    seed: int = Field(0, ge=0, description="Of the learners and their environments.")
    jobs: int = Field(2, ge=1, description="Processes, one core each.")
    settings: dict[str, Any] = Field({}, description="Settings of the source that differ from the protocol's.")


class LearningBenchmark(Benchmark):
    """Returns of a population and of the same algorithm on Stable-Baselines3."""

    Config: ClassVar[type[ComponentConfig]] = LearningConfig
    quick: ClassVar[Mapping[str, Any]] = {"tasks": 4, "steps": 3000}

    def __init__(self, config: ComponentConfig) -> None:
        assert isinstance(config, LearningConfig)
        self.config = config

    def run(self, report: ReportStep) -> BenchmarkReport:
        """See `Benchmark.run`."""
        config = self.config
        jobs, names = self._jobs()
        total = 2 * config.tasks * config.steps
        found = BenchmarkReport(
            f"{names[0]} and {names[1]} on {config.tasks} tasks of {config.env}, {config.steps:,} steps", over="tasks"
        )
        returns: dict[str, dict[int, tuple[float, float]]] = {name: {} for name in names}
        for name, scores in run_jobs(
            _learn, jobs, config.jobs, lambda units: report(min(units, total - 1), total, "learning")
        ):
            returns[name].update(scores)
        for column, quantity in enumerate((AREA, LAST)):
            values = [np.array([scores[column] for _, scores in sorted(returns[name].items())]) for name in names]
            for name, numbers in zip(names, values, strict=True):
                found.measurements.append(Measurement(name, quantity, UNIT, tuple(numbers.tolist())))
            self._compare(found, quantity, names, values)
        report(total, total, "done")
        return found

    def _jobs(self) -> tuple[list[tuple[Any, ...]], tuple[str, str]]:
        """The population is one job; the reference's tasks are independent, so they are one each."""
        config = self.config
        protocol = load_protocol(config.protocol)
        environment = load("environment", protocol.full_name(config.env))
        plan = protocol.plan_for(environment.entry.name)
        name = config.source or plan.source
        inherited = (
            protocol.settings_for(environment.entry.name, "", None).get("source", {}) if name == plan.source else {}
        )
        settings = {**inherited, **config.settings, "total_steps": config.steps, "evaluation_episodes": 0}
        place = (environment.component, environment.component.Config())
        tasks = spread_evenly(draw_tasks(place[0](place[1]), plan.split)["train"], config.tasks)
        jobs: list[tuple[Any, ...]] = []
        names = (name, f"{REFERENCE}{name}")
        for each in names:
            source = load("source", each).component
            known = {key: value for key, value in settings.items() if key in source.Config.model_fields}
            chosen = build_config(source.Config, known, "source")
            groups = [tasks] if each == name else [(task,) for task in tasks]
            jobs += [(each, source, chosen, *place, group, config.seed) for group in groups]
        return jobs, names

    def _compare(self, found: BenchmarkReport, quantity: str, names: tuple[str, str], values: list[Array]) -> None:
        halves = [half_interval(numbers.tolist()) for numbers in values]
        means = [float(numbers.mean()) for numbers in values]
        differences = values[0] - values[1]
        difference, paired = float(differences.mean()), half_interval(differences.tolist())
        words = " and ".join(
            f"{name} {mean:.2f} ± {half:.2f}" for name, mean, half in zip(names, means, halves, strict=True)
        )
        found.notes.append(f"{quantity}: {words}; task by task {difference:+.2f} ± {paired:.2f}")
        apart, limit = abs(means[0] - means[1]), min(halves)
        found.requirements.append(
            Requirement(f"{quantity}: each within the other's interval", apart, limit, UNIT, apart <= limit)
        )
        alike = abs(difference) <= paired
        found.requirements.append(
            Requirement(f"{quantity}: difference task by task", abs(difference), paired, UNIT, alike)
        )


def _learn(
    name: str,
    source: type[Source],
    config: Any,
    environment: type[Environment],
    environment_config: Any,
    tasks: Sequence[Task],
    seed: int,
) -> tuple[str, dict[int, tuple[float, float]]]:
    """Mean return and that of the last tenth, by the task's index."""
    seeds = [collect_seed(seed, task) for task in tasks]
    runs = source(config).collect(environment(environment_config), tasks, seeds, report_units)
    return name, {task.index: _scores(run.history) for task, run in zip(tasks, runs, strict=True)}


def _scores(history: LearningHistory) -> tuple[float, float]:
    """Over all streams, whose episodes count alike."""
    streams = [np.asarray(history.episode_returns(stream)) for stream in range(history.num_streams)]
    last = [returns[-max(1, len(returns) // 10) :] for returns in streams]
    return float(np.concatenate(streams).mean()), float(np.concatenate(last).mean())
