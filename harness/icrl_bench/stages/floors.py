"""Floors: what needs no learning reaches on the test tasks. Uniform random actions, and zero action."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator

import numpy as np

from icrl_bench.artefacts.store import Store
from icrl_bench.machine.progress import Progress
from icrl_bench.plan import Plan
from icrl_bench.seeding import floor_seed
from icrl_registry.contracts import Environment, Task
from icrl_registry.errors import NumericalError

KIND = "floors"
FILE = "floors.json"


def measure_floors(store: Store, plan: Plan, progress: Progress) -> dict[str, list[float]]:
    """Mean return per test task of each floor: `{"random": (K,), "zero_action": (K,)}`. Kept as an artefact."""
    name = plan.floors_address
    with store.lock(KIND, name, progress.message):
        if store.exists(KIND, name):
            progress.skip(KIND, "they are there")
        else:
            about = {"environment": plan.environment_id, "episodes": plan.collect.floor_episodes}
            measured = _measure(plan, progress)
            with store.write(KIND, name, about) as folder:
                (folder / FILE).write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    store.check(KIND, name)
    return dict(json.loads((store.path(KIND, name) / FILE).read_text(encoding="utf-8")))


def _measure(plan: Plan, progress: Progress) -> dict[str, list[float]]:
    environment, episodes = plan.make_environment(), plan.collect.floor_episodes
    data_seed, tasks = plan.request.protocol.data_seed, plan.tasks["test"]
    floors: dict[str, list[float]] = {"random": [], "zero_action": []}
    with progress.stage(KIND, len(tasks) * len(floors) * episodes, "episodes") as stage:
        for task in tasks:
            for name, scale in (("random", 1.0), ("zero_action", 0.0)):
                generator = np.random.default_rng(floor_seed(data_seed, task))
                total = 0.0
                for reward in _rewards(environment, task, scale, episodes, generator, stage.advance):
                    total += reward
                floors[name].append(total / episodes)
    return floors


def _rewards(
    environment: Environment,
    task: Task,
    scale: float,
    episodes: int,
    generator: np.random.Generator,
    report_episodes: Callable[[int], None],
) -> Iterator[float]:
    """The rewards of `episodes` episodes of actions uniform in [-scale, scale], one after the other.

    Raises:
        NumericalError: a reward is not finite; the message has task, episode and step.
    """
    batch = environment.make_batch([task])
    active = np.ones(1, dtype=np.bool_)
    try:
        for episode in range(episodes):
            batch.reset(0, int(generator.integers(2**31)))
            for step_number in itertools.count():
                action = generator.uniform(-scale, scale, (1, environment.spec.action_size)).astype(np.float32)
                step = batch.step(action, active)
                reward = float(step.rewards[0])
                if not math.isfinite(reward):
                    raise NumericalError(
                        f"reward is not finite: task {task.label}, episode {episode}, step {step_number} of a floor",
                        "the environment is at fault: `icrl-bench plugins check ID`",
                    )
                yield reward
                if step.terminated[0] or step.truncated[0]:
                    break
            report_episodes(1)
    finally:
        batch.close()
