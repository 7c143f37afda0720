"""The smallest method: nothing to train, and an agent that repeats what paid off."""

import numpy as np

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Agent, Checkpoint, Method


class BestSoFar(Method, Agent):
    """Repeats each task's most rewarding action so far, give or take some noise."""

    Config, training_data = ComponentConfig, "none"

    def train(self, job):
        return Checkpoint(tensors={}, state={})

    def agent(self, checkpoint, spec, device):
        self.action_size = spec.action_size
        return self

    def begin(self, setting):  # K unseen tasks
        self.noise = np.random.default_rng(setting.seed)
        self.best, self.reward = np.zeros((setting.num_tasks, self.action_size)), np.full(setting.num_tasks, -np.inf)

    def act(self, observations):  # (K, O) -> (K, A)
        return np.clip(self.best + self.noise.normal(0, 0.3, self.best.shape), -1, 1)

    def observe(self, seen):
        better = seen.active & (seen.rewards > self.reward)
        self.best[better], self.reward[better] = seen.actions[better], seen.rewards[better]
