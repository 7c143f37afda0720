"""Any number of tasks of a grid world stepped together, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from icrl_plugins.environments.grid_worlds.grid import MOVES, GridFormulas, Integers
from icrl_registry.actions import action_numbers
from icrl_registry.contracts import Array, BatchedEnvironment, BatchedStep, BoolArray, FloatArray


class GridBatch(BatchedEnvironment):
    """K tasks of one family. Rows are independent: what a row returns depends on its task, seed and actions alone."""

    def __init__(self, family: GridFormulas, tasks: Sequence[Sequence[float] | Array]) -> None:
        """
        Raises:
            ValueError: no task, or one outside the family.
        """
        if len(tasks) == 0:
            raise ValueError(f"a batch of {family.id} needs at least one task")
        names = family.task_parameter_names
        for task in tasks:
            parameters = np.asarray(task, dtype=np.float64)
            reason = family.why_outside(parameters) if parameters.shape == (len(names),) else "it has another shape"
            if reason is not None:
                raise ValueError(f"{family.id}: the task {tuple(task)} is none of ({', '.join(names)}): {reason}")
        self.family = family
        self.num_tasks = len(tasks)
        self.tasks: Integers = np.asarray(tasks, dtype=np.int64)  # (K, P)
        self.cells: Integers = np.zeros((self.num_tasks, 2), dtype=np.int64)  # (K, 2)
        self.found: Integers = np.zeros(self.num_tasks, dtype=np.int64)  # (K,)
        self._elapsed = np.full(self.num_tasks, -1)  # (K,), steps of the running episode; -1 before the first reset

    def reset(self, row: int, seed: int) -> FloatArray:
        """Starts an episode of task `row`; returns its first observation, (O,)."""
        return self.start(row, np.random.default_rng(seed))

    def start(self, row: int, generator: np.random.Generator) -> FloatArray:
        """`reset` with what is drawn drawn from `generator`."""
        self.cells[row], self.found[row], self._elapsed[row] = self.family.start(generator), 0, 0
        first: FloatArray = self.family.observe(self.cells[row : row + 1], self.found[row : row + 1])[0]
        return first

    def step(self, actions: FloatArray, active: BoolArray) -> BatchedStep:
        """Steps the rows where `active` (K,) holds with the actions that `actions` (K, 5) choose.

        Raises:
            ValueError: actions of another shape, or a row that was never reset.
        """
        family, rows = self.family, np.flatnonzero(active)
        if np.shape(actions) != (self.num_tasks, len(MOVES)):
            expected = (self.num_tasks, len(MOVES))
            raise ValueError(f"actions have shape {np.shape(actions)}, {family.id} expects {expected}")
        if (self._elapsed[rows] < 0).any():
            raise ValueError(f"a task of {family.id} was stepped before its first reset")
        moved = self.cells[rows] + MOVES[action_numbers(actions)[rows]]
        self.cells[rows] = np.clip(moved, 0, family.config.size - 1)
        rewards = np.zeros(self.num_tasks, dtype=np.float32)
        rewards[rows], self.found[rows] = family.pay(self.cells[rows], self.found[rows], self.tasks[rows])
        self._elapsed[rows] += 1
        truncated = active & (self._elapsed >= family.config.horizon)
        never = np.zeros(self.num_tasks, dtype=np.bool_)
        return BatchedStep(
            family.observe(self.cells, self.found), rewards, never, truncated, self._successes(truncated)
        )

    def _successes(self, ended: BoolArray) -> FloatArray | None:
        """(K,) the measure where an episode ended and NaN elsewhere; None where none did."""
        if not ended.any():
            return None
        successes = np.full(self.num_tasks, np.nan, dtype=np.float32)
        successes[ended] = self.family.measure_success(self.cells[ended], self.found[ended], self.tasks[ended])
        return successes

    def close(self) -> None:
        """Nothing to free."""

    def save(self) -> Mapping[str, Array]:
        """Cells (K, 2), what was found (K,) and steps of the running episodes (K,)."""
        return {"cells": self.cells.copy(), "found": self.found.copy(), "elapsed": self._elapsed.copy()}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Goes on from what `save` gave."""
        self.cells[:], self.found[:], self._elapsed[:] = state["cells"], state["found"], state["elapsed"]
