"""K tasks stepped together: the batched contract, and any Gymnasium environments behind it.

Below `contracts.py`, whose default `Environment.make_batch` is a `SequentialBatch`. Plugins import the contract from there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from icrl_registry.actions import action_numbers, is_discrete
from icrl_registry.arrays import Array, BoolArray, FloatArray

if TYPE_CHECKING:
    import gymnasium


@dataclass(frozen=True)
class BatchedStep:
    """What one step of K environments returned. Rows of inactive tasks hold their last observation and zeros."""

    observations: FloatArray  # (K, O), the true next observation, also where the episode ended
    rewards: FloatArray  # (K,)
    terminated: BoolArray  # (K,)
    truncated: BoolArray  # (K,)
    successes: FloatArray | None = (
        None  # (K,), in [0, 1] where an episode ended, NaN elsewhere; see Environment.success
    )


class BatchedEnvironment(Protocol):
    """K tasks of one environment stepped together. Nothing resets by itself: the caller says which row starts anew."""

    num_tasks: int

    @abstractmethod
    def reset(self, row: int, seed: int) -> FloatArray:
        """Starts an episode of task `row`; returns its first observation, (O,)."""

    @abstractmethod
    def step(self, actions: FloatArray, active: BoolArray) -> BatchedStep:
        """Steps the rows where `active` (K,) holds with `actions` (K, A) in [-1, 1], or that choose one of A actions."""

    @abstractmethod
    def close(self) -> None:
        """Frees simulators and windows."""

    def save(self) -> Mapping[str, Array] | None:
        """All rows' states in the midst of their episodes, (K, …) each, finite; None, the default: it cannot be saved."""
        return None

    def restore(self, state: Mapping[str, Array]) -> None:
        """Goes back to what `save` gave, here or in another batch of the same tasks: the next steps are the same bits."""
        raise RuntimeError(f"{type(self).__name__} can neither save nor restore its state")


class SequentialBatch(BatchedEnvironment):
    """K Gymnasium environments behind the batched contract, stepped one after the other."""

    def __init__(self, environments: Sequence[gymnasium.Env[Any, Any]]) -> None:
        self.environments = list(environments)
        self.num_tasks = len(self.environments)
        shape = self.environments[0].observation_space.shape
        if shape is None:
            raise ValueError("observations must be a Box")
        self._last = np.zeros((self.num_tasks, *shape), dtype=np.float32)  # (K, O)
        self._discrete = is_discrete(self.environments[0].action_space)

    def reset(self, row: int, seed: int) -> FloatArray:
        observation, _ = self.environments[row].reset(seed=seed)
        self._last[row] = observation
        return np.array(self._last[row])

    def step(self, actions: FloatArray, active: BoolArray) -> BatchedStep:
        rewards = np.zeros(self.num_tasks, dtype=np.float32)
        terminated = np.zeros(self.num_tasks, dtype=np.bool_)
        truncated = np.zeros(self.num_tasks, dtype=np.bool_)
        successes = np.full(self.num_tasks, np.nan, dtype=np.float32)
        chosen = action_numbers(actions) if self._discrete else actions
        for row in np.flatnonzero(active):
            observation, rewards[row], terminated[row], truncated[row], info = self.environments[row].step(chosen[row])
            self._last[row] = observation
            if terminated[row] or truncated[row]:
                successes[row] = info.get("success", np.nan)
        measured = None if np.isnan(successes).all() else successes
        return BatchedStep(self._last.copy(), rewards, terminated, truncated, measured)

    def close(self) -> None:
        for environment in self.environments:
            environment.close()
