"""`icrl-bench bench sources`: environment steps per second of every registered source, and of sbx, on one core each.

Implementations of one algorithm (`sac`, `sb3-sac`, sbx's) get the same networks, batch size and updates per environment step.
Stable-Baselines3 and sbx train one task; a source that trains tasks together gets as many as it takes, and the steps of all
of them count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any, ClassVar

from pydantic import Field

from icrl_bench.benchmarking.source_jobs import time_sbx, time_source
from icrl_bench.machine.workers import run_jobs
from icrl_registry.benchmarks import Absent, Benchmark, BenchmarkReport, Measurement, ReportStep, Requirement, ratio
from icrl_registry.configuration import ComponentConfig, build_config
from icrl_registry.discovery import list_plugins, load
from icrl_registry.errors import BenchError

SPEED = "training"
#: What an implementation is compared with, in this order.
REFERENCE, JAX = "sb3-", "sbx"
#: How many times as fast as Stable-Baselines3 the algorithms must be.
FACTORS = {"sac": 5.0, "droq": 5.0, "ppo": 4.0}

_COMMON = {"num_envs": 5, "hidden_sizes": (64, 64), "learning_rate": 1e-3, "evaluation_episodes": 0}
_OFF_POLICY = {**_COMMON, "batch_size": 256, "learning_starts": 200}
SETTINGS: dict[str, dict[str, Any]] = {
    "sac": {**_OFF_POLICY, "gradient_steps": 2},
    "droq": {**_OFF_POLICY, "gradient_steps": 5, "dropout": 0.01},
    "ppo": {**_COMMON, "batch_size": 250, "rollout_length": 200, "num_epochs": 10},
}


class SourcesConfig(ComponentConfig):
    """Sizes of the sources benchmark."""

    env: str = Field("reacher-goal", description="Environment whose tasks are trained on.")
    names: tuple[str, ...] = Field((), description="Sources; none: all that are registered, and sbx.")
    tasks: int = Field(16, ge=1, description="Tasks for a source that trains tasks together, at most.")
    repeats: int = Field(3, ge=1, description="Turns; medians and quartiles are over them.")
    warm_up: int = Field(1000, ge=0, description="Environment steps per task before the clock starts.")
    seconds: float = Field(8.0, gt=0, description="Least time that the clock runs in a turn.")
    total_steps: int = Field(50_000, ge=1, description="Environment steps per task after which a turn ends anyhow.")


class SourcesBenchmark(Benchmark):
    """Environment steps per second, each turn in a process of its own."""

    Config: ClassVar[type[ComponentConfig]] = SourcesConfig
    quick: ClassVar[Mapping[str, Any]] = {
        "names": ("sac", "sb3-sac", "sbx-sac"), "tasks": 8, "repeats": 1, "seconds": 2.0, "warm_up": 400,
    }  # fmt: skip

    def __init__(self, config: ComponentConfig) -> None:
        assert isinstance(config, SourcesConfig)
        self.config = config
        self.tasks_at_once: dict[str, int] = {}

    def run(self, report: ReportStep) -> BenchmarkReport:
        """See `Benchmark.run`."""
        config = self.config
        found = BenchmarkReport(f"sources on {config.env}, one core each")
        jobs = self._jobs(found)
        speeds: dict[str, list[float]] = {name: [] for name in jobs}
        steps = config.repeats * len(jobs)
        for turn in range(config.repeats):
            for index, (name, (function, arguments)) in enumerate(list(jobs.items())):
                if name not in speeds:
                    continue
                report(turn * len(jobs) + index, steps, f"{name}, turn {turn + 1}")
                try:
                    speeds[name] += run_jobs(function, [arguments], 1, lambda units: None)
                except BenchError as error:
                    found.absent.append(Absent(name, error.message, error.hint))
                    del speeds[name]
        for name in sorted(speeds, key=_algorithm):
            found.measurements.append(Measurement(name, SPEED, "env steps/s", tuple(speeds[name])))
        self._compare(found)
        for algorithm in sorted({_algorithm(name) for name in speeds} & SETTINGS.keys()):
            found.notes.append(f"{algorithm}: {_in_words(SETTINGS[algorithm])}")
        together = [f"{name} {count}" for name, count in self.tasks_at_once.items() if count > 1]
        if together:
            found.notes.append(f"tasks at once: {', '.join(together)}; one in the others")
        report(steps, steps, "done")
        return found

    def _jobs(self, found: BenchmarkReport) -> dict[str, tuple[Callable[..., float], tuple[Any, ...]]]:
        """What to run for each contender; one that cannot be built is left out by name."""
        config = self.config
        environment = load("environment", config.env).component
        place = (environment, environment.Config())
        clock = (config.warm_up, config.seconds)
        jobs: dict[str, tuple[Callable[..., float], tuple[Any, ...]]] = {}
        for name in config.names or _all_names():
            settings = {**SETTINGS.get(_algorithm(name), {}), "total_steps": config.total_steps}
            try:
                if name.startswith(f"{JAX}-"):
                    _require_sbx()
                    jobs[name] = (time_sbx, (_algorithm(name), settings, *place, *clock))
                else:
                    source = load("source", name).component
                    known = {key: value for key, value in settings.items() if key in source.Config.model_fields}
                    chosen = build_config(source.Config, known, "source")
                    count = max(1, min(config.tasks, source(chosen).group_size()))
                    self.tasks_at_once[name] = count
                    jobs[name] = (time_source, (source, chosen, *place, count, *clock))
            except BenchError as error:
                found.absent.append(Absent(name, error.message, error.hint))
        return jobs

    def _compare(self, found: BenchmarkReport) -> None:
        """Each source beside the other implementations of its algorithm."""
        by_name = {each.subject: each for each in found.measurements}
        for name, measured in by_name.items():
            if name.startswith((REFERENCE, f"{JAX}-")):
                continue
            for rival in (f"{REFERENCE}{name}", f"{JAX}-{name}"):
                if rival not in by_name:
                    continue
                values = ratio(by_name[rival], measured, "faster").values
                found.ratios.append(Measurement(f"{name} : {rival}", "faster", "×", values))
                if rival.startswith(REFERENCE) and name in FACTORS:
                    value, limit = found.ratios[-1].median, FACTORS[name]
                    found.requirements.append(
                        Requirement(f"{name}: faster than {rival}", value, limit, "×", value >= limit)
                    )


def _all_names() -> Iterable[str]:
    names = sorted({entry.name for entry in list_plugins("source")}, key=lambda name: (_algorithm(name), name))
    return [*names, *(f"{JAX}-{algorithm}" for algorithm in sorted(SETTINGS))]


def _algorithm(name: str) -> str:
    return name.removeprefix(REFERENCE).removeprefix(f"{JAX}-")


def _require_sbx() -> None:
    if find_spec("sbx") is None:
        raise BenchError("not installed", "pip install sbx-rl")


def _in_words(settings: Mapping[str, Any]) -> str:
    layers = "-".join(map(str, settings["hidden_sizes"]))
    words = f"networks {layers}, batches of {settings['batch_size']}, {settings['num_envs']} environments a task"
    if "gradient_steps" in settings:
        per_step = settings["gradient_steps"] / settings["num_envs"]
        return f"{words}, {per_step:g} updates per environment step"
    return f"{words}, {settings['num_epochs']} epochs on {settings['num_envs'] * settings['rollout_length']} steps"
