"""Floors: what needs no learning reaches on the test tasks. Uniform random actions, and zero action."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from icrl_bench.artefacts.store import Store
from icrl_bench.planning import Plan
from icrl_bench.seeding import floor_seed
from icrl_bench.stages.stage import Context, Stage
from icrl_registry.contracts import Environment, Task
from icrl_registry.errors import NumericalError

FILE = "floors.json"
FLOORS = {"random": 1.0, "zero_action": 0.0}  # the range of the actions, which are uniform

FloorReturns = dict[str, list[float]]  # (K,) each: the mean return per test task


class Floors(Stage[FloorReturns]):
    """Mean return per test task of each floor: `{"random": (K,), "zero_action": (K,)}`."""

    kind = folder = "floors"
    there = "they are there"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)

    def determinants(self) -> dict[str, Any]:
        return {
            "environment": self.plan.environment.determinants,
            "tasks": [task.parameters for task in self.plan.tasks["test"]],
            "episodes": self.plan.collect.floor_episodes,
            "data_seed": self.plan.request.protocol.data_seed,
        }

    def make(self, context: Context) -> None:
        plan, episodes = self.plan, self.plan.collect.floor_episodes
        environment, tasks = plan.make_environment(), plan.tasks["test"]
        floors: FloorReturns = {name: [] for name in FLOORS}
        with context.progress.stage(self.name, len(tasks) * len(floors) * episodes, "episodes") as stage:
            for task in tasks:
                for name, scale in FLOORS.items():
                    generator = np.random.default_rng(floor_seed(plan.request.protocol.data_seed, task))
                    total = 0.0
                    for reward in _rewards(environment, task, scale, episodes, generator, stage.advance):
                        total += reward
                    floors[name].append(total / episodes)
        about = {"environment": plan.environment_id, "episodes": episodes}
        with context.store.write(self.folder, self.address, about) as folder:
            (folder / FILE).write_text(json.dumps(floors, indent=1) + "\n", encoding="utf-8")

    def read(self, store: Store) -> FloorReturns:
        store.check(self.folder, self.address)
        return dict(json.loads((store.path(self.folder, self.address) / FILE).read_text(encoding="utf-8")))


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
