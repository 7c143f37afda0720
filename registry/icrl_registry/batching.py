"""Any Gymnasium environments stepped as one batch: the default of `Environment.make_batch`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icrl_registry.contracts import BatchedEnvironment, BatchedStep, BoolArray, FloatArray

if TYPE_CHECKING:
    import gymnasium


class SequentialBatch(BatchedEnvironment):
    """K Gymnasium environments behind the batched contract, stepped one after the other."""

    def __init__(self, environments: Sequence[gymnasium.Env[Any, Any]]) -> None:
        self.environments = list(environments)
        self.num_tasks = len(self.environments)
        shape = self.environments[0].observation_space.shape
        if shape is None:
            raise ValueError("observations must be a Box")
        self._last = np.zeros((self.num_tasks, *shape), dtype=np.float32)  # (K, O)

    def reset(self, row: int, seed: int) -> FloatArray:
        observation, _ = self.environments[row].reset(seed=seed)
        self._last[row] = observation
        return np.array(self._last[row])

    def step(self, actions: FloatArray, active: BoolArray) -> BatchedStep:
        rewards = np.zeros(self.num_tasks, dtype=np.float32)
        terminated = np.zeros(self.num_tasks, dtype=np.bool_)
        truncated = np.zeros(self.num_tasks, dtype=np.bool_)
        successes = np.full(self.num_tasks, np.nan, dtype=np.float32)
        for row in np.flatnonzero(active):
            observation, rewards[row], terminated[row], truncated[row], info = self.environments[row].step(actions[row])
            self._last[row] = observation
            if terminated[row] or truncated[row]:
                successes[row] = info.get("success", np.nan)
        measured = None if np.isnan(successes).all() else successes
        return BatchedStep(self._last.copy(), rewards, terminated, truncated, measured)

    def close(self) -> None:
        for environment in self.environments:
            environment.close()
