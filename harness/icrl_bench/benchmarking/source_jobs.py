"""What runs in a process of its own, on one core: a source, or sbx's algorithm, until its speed is known."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from icrl_registry.contracts import Environment, Source, Task
from icrl_registry.errors import BenchError


class _Enough(Exception):
    """Raised inside the training to end it."""


class _Stopwatch:
    """Environment steps per second between the first report beyond the warm-up and the last one.

    Stable-Baselines3 and sbx report a step before they learn from it. A warm-up of whole rollouts is therefore over when
    the next report comes: the first update, in which JAX compiles, lies before the clock, and whole rounds under it.
    """

    def __init__(self, warm_up_steps: int, seconds: float) -> None:
        self.warm_up_steps, self.seconds = warm_up_steps, seconds
        self.steps = 0
        self._marks: list[tuple[float, int]] = []

    def report(self, steps: int) -> None:
        """Counts `steps` more.

        Raises:
            _Enough: two reports more and so many seconds after the clock started.
        """
        self.steps += steps
        if self.steps <= self.warm_up_steps:
            return
        self._marks.append((time.perf_counter(), self.steps))
        if len(self._marks) > 2 and self._marks[-1][0] - self._marks[0][0] >= self.seconds:
            raise _Enough

    @property
    def rate(self) -> float:
        """Steps per second."""
        if len(self._marks) < 2:
            raise BenchError(
                "the training ended before its speed was known", "give it more with --set bench.total_steps=…"
            )
        (started, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - started)


def time_source(
    source: type[Source],
    config: Any,
    environment: type[Environment],
    environment_config: Any,
    num_tasks: int,
    warm_up: int,
    seconds: float,
) -> float:
    """Environment steps per second of a source, over all tasks of one `collect` call."""
    _stay_on_one_core()
    family, trained = environment(environment_config), source(config)
    drawn = family.sample_training_parameters(num_tasks, np.random.default_rng(0))
    tasks = [Task(tuple(map(float, parameters)), "train", index) for index, parameters in enumerate(drawn)]
    watch = _Stopwatch(warm_up * num_tasks, seconds)
    seeds = [np.random.SeedSequence(index) for index in range(num_tasks)]
    try:
        for _ in trained.collect(family, tasks, seeds, watch.report):
            continue
    except _Enough:
        return watch.rate
    return watch.rate


def time_sbx(
    algorithm: str,
    settings: Mapping[str, Any],
    environment: type[Environment],
    environment_config: Any,
    warm_up: int,
    seconds: float,
) -> float:
    """The same of sbx (JAX): its SAC, its SAC with DroQ's dropout and layer norm, or its PPO."""
    _stay_on_one_core()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import sbx
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import DummyVecEnv

    family = environment(environment_config)
    task = Task(tuple(map(float, family.sample_training_parameters(1, np.random.default_rng(0))[0])), "train", 0)
    watch = _Stopwatch(warm_up, seconds)

    class Report(BaseCallback):
        def _on_step(self) -> bool:
            watch.report(self.training_env.num_envs)
            return True

    environments = DummyVecEnv([lambda: family.make(task)] * settings["num_envs"])
    kind, arguments = _sbx_arguments(algorithm, settings)
    model = getattr(sbx, kind)("MlpPolicy", environments, seed=0, **arguments)
    try:
        model.learn(settings["total_steps"], callback=Report())
    except _Enough:
        return watch.rate
    return watch.rate


def _sbx_arguments(algorithm: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """sbx's class and its arguments for the settings of the same algorithm here."""
    policy: dict[str, Any] = {"net_arch": list(settings["hidden_sizes"])}
    common = {"learning_rate": settings["learning_rate"], "batch_size": settings["batch_size"], "policy_kwargs": policy}
    if algorithm == "ppo":
        return "PPO", {**common, "n_steps": settings["rollout_length"], "n_epochs": settings["num_epochs"]}
    steps = settings["gradient_steps"]
    arguments = {
        **common, "train_freq": 1, "gradient_steps": steps, "learning_starts": settings["learning_starts"],
        "buffer_size": settings["total_steps"],
    }  # fmt: skip
    if algorithm == "droq":
        policy |= {"dropout_rate": settings["dropout"], "layer_norm": True}
        arguments["policy_delay"] = steps
    return "SAC", arguments


def _stay_on_one_core() -> None:
    """XLA and OpenBLAS start a thread per core that the process may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
