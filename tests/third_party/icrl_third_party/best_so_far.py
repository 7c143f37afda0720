"""The smallest method: nothing to train, and an agent that repeats what paid off."""

import numpy as np

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Agent, Checkpoint, Method


class BestSoFar(Method):
    """Repeats each task's most rewarding action so far, give or take some noise."""

    Config = ComponentConfig
    training_data = "none"

    def __init__(self, config, backbone=None):
        self.config = config

    def train(self, job):
        return Checkpoint(tensors={}, state={})

    def agent(self, checkpoint, spec, device):
        return Repeater(spec.action_size)


class Repeater(Agent):
    def __init__(self, action_size):
        self.action_size = action_size

    def begin(self, setting):
        self.noise = np.random.default_rng(setting.seed)
        self.best = np.zeros((setting.num_tasks, self.action_size))  # (K, A)
        self.reward = np.full(setting.num_tasks, -np.inf)  # (K,)

    def act(self, observations):
        return np.clip(self.best + self.noise.normal(0, 0.3, self.best.shape), -1, 1)

    def observe(self, transitions):
        better = transitions.active & (transitions.rewards > self.reward)
        self.best[better] = transitions.actions[better]
        self.reward[better] = transitions.rewards[better]
