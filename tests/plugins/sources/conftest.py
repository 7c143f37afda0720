"""A family of tasks small enough to learn in seconds: a point on a line that should go to a hidden goal."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Environment, EnvironmentSpec, Task


class PointEnv(gymnasium.Env):
    """x ← x + 0.2·a from x ~ U(±0.1), reward −|x − goal|; the best policy's return is known in closed form."""

    def __init__(self, goal: float, horizon: int, wall: float, broken: dict[str, int] | None) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.goal, self.horizon, self.wall = goal, horizon, wall
        self.broken = broken or {}
        self.total_steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-0.1, 0.1)
        self.elapsed = 0
        return np.array([self.x], np.float32), {"goal": self.goal}

    def step(self, action):
        assert action.dtype == np.float32
        assert np.abs(action).max() <= 1.0
        self.x += 0.2 * float(action[0])
        self.elapsed += 1
        self.total_steps += 1
        reward = -abs(self.x - self.goal)
        observation = np.array([self.x], np.float32)
        if self.broken.get("reward") == self.total_steps:
            reward = float("nan")
        if self.broken.get("observation") == self.total_steps:
            observation[0] = np.inf
        terminated = abs(self.x) > self.wall
        return observation, reward, bool(terminated), self.elapsed >= self.horizon, {"goal": self.goal}


class Point(Environment):
    """The family; `wall` ends episodes early, `broken` makes a number NaN at the given step of every copy."""

    Config = ComponentConfig
    id = "point-v1"
    task_parameter_names = ("goal",)

    def __init__(self, config=None, horizon=10, wall=np.inf, broken=None) -> None:
        self.horizon, self.wall, self.broken = horizon, wall, broken

    @property
    def spec(self) -> EnvironmentSpec:
        return EnvironmentSpec(self.id, observation_size=1, action_size=1, horizon=self.horizon)

    def sample_task_parameters(self, generator):
        return generator.uniform(-1, 1, 1)

    def make(self, task, render_mode=None):
        return PointEnv(task.parameters[0], self.horizon, self.wall, self.broken)


@pytest.fixture
def point():
    """The class `Point`: call it with `horizon`, `wall` or `broken`."""
    return Point


@pytest.fixture
def task():
    return Task(parameters=(0.7,), split="train", index=3)


@pytest.fixture
def collect():
    """Trains a source on tasks and returns the list of runs."""

    def run(source, environment, tasks, seeds, report_steps=lambda steps: None):
        sequences = [np.random.SeedSequence(seed) for seed in seeds]
        return list(source.collect(environment, tasks, sequences, report_steps))

    return run
