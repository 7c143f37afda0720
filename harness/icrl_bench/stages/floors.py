"""Floors: what needs no learning reaches on the test tasks. Uniform random actions, and zero action."""

from __future__ import annotations

import json

import numpy as np

from icrl_bench.plan import Plan
from icrl_bench.seeding import floor_seed
from icrl_bench.store import Store
from icrl_registry.contracts import Environment, Task

KIND = "floors"
FILE = "floors.json"


def measure_floors(store: Store, plan: Plan) -> dict[str, list[float]]:
    """Mean return per test task of each floor: `{"random": (K,), "zero_action": (K,)}`. Kept as an artefact."""
    name = plan.floors_address
    with store.lock(KIND, name):
        if not store.exists(KIND, name):
            about = {"environment": plan.environment_id, "episodes": plan.collect.floor_episodes}
            with store.write(KIND, name, about) as folder:
                text = json.dumps(_measure(plan), indent=1, allow_nan=False)
                (folder / FILE).write_text(text + "\n", encoding="utf-8")
    store.check(KIND, name)
    return dict(json.loads((store.path(KIND, name) / FILE).read_text(encoding="utf-8")))


def _measure(plan: Plan) -> dict[str, list[float]]:
    environment, episodes = plan.make_environment(), plan.collect.floor_episodes
    data_seed = plan.request.protocol.data_seed
    floors: dict[str, list[float]] = {"random": [], "zero_action": []}
    for task in plan.tasks["test"]:
        for name, scale in (("random", 1.0), ("zero_action", 0.0)):
            generator = np.random.default_rng(floor_seed(data_seed, task))
            floors[name].append(_mean_return(environment, task, scale, episodes, generator))
    return floors


def _mean_return(
    environment: Environment, task: Task, scale: float, episodes: int, generator: np.random.Generator
) -> float:
    """Mean return of actions uniform in [-scale, scale]."""
    batch = environment.make_batch([task])
    active = np.ones(1, dtype=np.bool_)
    total = 0.0
    for _ in range(episodes):
        batch.reset(0, int(generator.integers(2**31)))
        done = False
        while not done:
            action = generator.uniform(-scale, scale, (1, environment.spec.action_size)).astype(np.float32)
            step = batch.step(action, active)
            total += float(step.rewards[0])
            done = bool(step.terminated[0] or step.truncated[0])
    batch.close()
    return total / episodes
