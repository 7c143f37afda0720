"""A point on a line that should find a place it isn't told."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import TimeLimit
from pydantic import Field

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Environment, EnvironmentSpec


class LineGoalConfig(ComponentConfig):
    step_length: float = Field(0.2, gt=0, description="how far the largest action goes")


class LineGoal(Environment):
    """The reward is minus the distance to a hidden place in [-1, 1]."""

    Config = LineGoalConfig
    id = "line-goal-v1"
    task_parameter_names = ("goal (length)",)
    spec = EnvironmentSpec(id, observation_size=1, action_size=1, horizon=20)

    def __init__(self, config):
        self.config = config

    def sample_task_parameters(self, generator):
        return generator.uniform(-1, 1, size=1)

    def make(self, task, render_mode=None):
        return TimeLimit(Line(task.parameters[0], self.config.step_length), self.spec.horizon)


class Line(gymnasium.Env):
    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)

    def __init__(self, goal, step_length):
        self.goal, self.step_length = goal, step_length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-0.1, 0.1, size=1)
        return self.position.astype(np.float32), {}

    def step(self, action):
        self.position = np.clip(self.position + self.step_length * np.clip(action, -1, 1), -1, 1)
        return self.position.astype(np.float32), -abs(float(self.position[0]) - self.goal), False, False, {}
