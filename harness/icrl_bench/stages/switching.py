"""Trials whose task changes half-way: does an agent notice, and how soon does it have the new one?

Every row plays another test task first, the one before it in the list, and then its own: so whatever its last episodes are
measured against is its own task's, and over all rows both halves hold the same tasks. Nothing tells the agent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icrl_registry.contracts import BatchedEnvironment, BatchedStep, BoolArray, FloatArray, Task


def first_tasks(tasks: Sequence[Task]) -> list[Task]:
    """What each row plays before its own task: the one before it, the last one for the first, (K,)."""
    return [*tasks[-1:], *tasks[:-1]]


class SwitchingBatch(BatchedEnvironment):
    """Rows of `before` for their first `episodes` episodes, and of `after` from then on, each row by its own count."""

    def __init__(self, before: BatchedEnvironment, after: BatchedEnvironment, episodes: int) -> None:
        self.before, self.after, self.episodes = before, after, episodes
        self.num_tasks = before.num_tasks
        self._started = np.zeros(self.num_tasks, dtype=np.int64)  # (K,), episodes begun

    @property
    def _has_switched(self) -> BoolArray:
        """(K,), whether a row is in its second task."""
        switched: BoolArray = self._started > self.episodes
        return switched

    def reset(self, row: int, seed: int) -> FloatArray:
        self._started[row] += 1
        return (self.after if self._has_switched[row] else self.before).reset(row, seed)

    def step(self, actions: FloatArray, active: BoolArray) -> BatchedStep:
        switched = self._has_switched
        if not (active & switched).any():
            return self.before.step(actions, active)
        if not (active & ~switched).any():
            return self.after.step(actions, active)
        return _merged(
            self.before.step(actions, active & ~switched), self.after.step(actions, active & switched), switched
        )

    def close(self) -> None:
        self.before.close()
        self.after.close()


def _merged(before: BatchedStep, after: BatchedStep, switched: BoolArray) -> BatchedStep:
    """The rows of `after` where `switched` (K,) holds, else those of `before`."""
    successes = None
    if before.successes is not None or after.successes is not None:
        unknown = np.full(len(switched), np.nan, dtype=np.float32)
        first, second = (unknown if step.successes is None else step.successes for step in (before, after))
        successes = np.where(switched, second, first)
    return BatchedStep(
        observations=np.where(switched[:, None], after.observations, before.observations),
        rewards=np.where(switched, after.rewards, before.rewards),
        terminated=np.where(switched, after.terminated, before.terminated),
        truncated=np.where(switched, after.truncated, before.truncated),
        successes=successes,
    )
