"""Dark Room: find a goal that isn't seen, and come back to it (Laskin et al., 2022, https://arxiv.org/abs/2210.14215).

The room of section 4 there, which has become the lesson that every method of learning in context is tried on first; goals for
training and for test are apart, as in Zisman et al. (2024, https://arxiv.org/abs/2312.12275).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from icrl_plugins.environments.grid_worlds.grid import Integers
from icrl_plugins.environments.grid_worlds.grid_world import GridWorld
from icrl_registry.contracts import Array, FloatArray, Task


class DarkRoom(GridWorld):
    """A room of 9 × 9 cells with a hidden goal; an episode starts in its middle and has 20 steps.

    Observation (2): column and row. Actions (5): stay, up, right, down, left.
    Reward: 1 for every step that ends at the goal, 0 for every other. It never terminates.
    """

    id: ClassVar[str] = "dark-room-v1"
    success: ClassVar[str | None] = "at the goal at the last step"
    task_parameter_names: ClassVar[tuple[str, ...]] = ("goal_column (cells)", "goal_row (cells)")
    deterministic_start: ClassVar[bool] = True

    def start(self, generator: np.random.Generator) -> Integers:
        """The middle of the room; nothing is drawn."""
        return np.full(2, self.config.size // 2, dtype=np.int64)

    def pay(self, cells: Integers, found: Integers, tasks: Integers) -> tuple[FloatArray, Integers]:
        return _is_at(cells, tasks).astype(np.float32), found

    def measure_success(self, cells: Integers, found: Integers, tasks: Integers) -> FloatArray:
        return _is_at(cells, tasks).astype(np.float32)

    def blind_return(self, tasks: Sequence[Task]) -> Array:
        """At most H / K in each of K different tasks: a step that ignores the rewards pays in one of them, if at all."""
        same = np.unique([task.parameters for task in tasks], axis=0, return_counts=True)[1].max()
        return np.full(len(tasks), self.config.horizon * same / len(tasks))


def _is_at(cells: Integers, goals: Integers) -> Array:
    """(R, 2) and (R, 2) → (R,) bool."""
    there: Array = (cells == goals).all(axis=1)
    return there
