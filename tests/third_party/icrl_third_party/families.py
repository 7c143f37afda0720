"""Families of other kinds: one whose tasks differ in dynamics, one of two tasks, one with discrete actions."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.wrappers import TimeLimit

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Environment, EnvironmentSpec
from icrl_third_party.environment import Line, LineGoal


class SwitchedMotor(Environment):
    """Go to 0.8; how far the motor moves, and which way, is hidden."""

    Config = ComponentConfig
    id = "switched-motor-v1"
    task_parameter_names = ("gain (length per action)",)
    varies = ("dynamics",)
    spec = EnvironmentSpec(id, observation_size=1, action_size=1, horizon=20)

    def __init__(self, config):
        self.config = config

    def sample_task_parameters(self, generator):
        return generator.uniform(0.1, 0.3, size=1) * generator.choice([-1, 1])

    def make(self, task, render_mode=None):
        return TimeLimit(Line(goal=0.8, step_length=task.parameters[0]), self.spec.horizon)


class TwoEnds(LineGoal):
    """Two tasks: the one end of the line, or the other."""

    id = "two-ends-v1"
    spec = EnvironmentSpec(id, observation_size=1, action_size=1, horizon=20)

    def all_task_parameters(self):
        return np.array([[-1.0], [1.0]])

    def sample_task_parameters(self, generator):
        return generator.choice([-1.0, 1.0], size=1)


class DarkCorridor(Environment):
    """Nine cells in a row, of which a hidden one pays 1; an episode starts in the middle. Actions: stay, right, left."""

    Config = ComponentConfig
    id = "dark-corridor-v1"
    task_parameter_names = ("goal (cell)",)
    deterministic_start = True
    spec = EnvironmentSpec(
        id, observation_size=1, action_size=3, horizon=12, actions="discrete", observation_values=(9,)
    )

    def __init__(self, config):
        self.config = config

    def all_task_parameters(self):
        return np.arange(9.0)[:, None]

    def sample_task_parameters(self, generator):
        return generator.integers(9, size=1).astype(np.float64)

    def make(self, task, render_mode=None):
        return TimeLimit(Corridor(int(task.parameters[0])), self.spec.horizon)


class Corridor(gymnasium.Env):
    observation_space = Box(0, 8, (1,), np.float32)
    action_space = Discrete(3)

    def __init__(self, goal):
        self.goal = goal

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell = 4
        return np.array([self.cell], np.float32), {}

    def step(self, action):
        self.cell = int(np.clip(self.cell + (0, 1, -1)[action], 0, 8))
        return np.array([self.cell], np.float32), float(self.cell == self.goal), False, False, {}
