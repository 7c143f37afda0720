"""Dark Key-to-Door: find a key, then the door that it opens; neither is seen (Laskin et al., 2022, arXiv 2210.14215).

Unlike there, the agent sees whether it holds the key: without it the best policy of a single task needs memory, and neither a
table of the cells nor a network without memory could be its oracle. What has to be inferred, the two places, stays hidden.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from icrl_plugins.environments.grid_worlds.grid import GridConfig, Integers
from icrl_plugins.environments.grid_worlds.grid_world import GridWorld
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Difference, FloatArray

NOTHING, KEY, DOOR = 0, 1, 2  # what was found


class DarkKeyToDoorConfig(GridConfig):
    """As every grid world, with longer episodes."""

    horizon: int = Field(50, ge=1, description="steps of an episode")


class DarkKeyToDoor(GridWorld):
    """A room of 9 × 9 cells with a hidden key and a hidden door; an episode starts anywhere and has 50 steps.

    Observation (3): column, row and what was found: 0 nothing, 1 the key, 2 the door too. Actions (5): stay, up, right, down,
    left. Reward: 1 for the step that finds the key and 1 for the step that comes to the door with it, once each; 0 for every
    other. It never terminates.
    """

    Config: ClassVar[type[ComponentConfig]] = DarkKeyToDoorConfig
    id: ClassVar[str] = "dark-key-to-door-v1"
    success: ClassVar[str | None] = "the door is opened (one half: the key is found)"
    task_parameter_names: ClassVar[tuple[str, ...]] = (
        "key_column (cells)",
        "key_row (cells)",
        "door_column (cells)",
        "door_row (cells)",
    )
    varies: ClassVar[tuple[Difference, ...]] = ("reward", "dynamics")  # what was found is seen
    num_found: ClassVar[int] = 2

    def start(self, generator: np.random.Generator) -> Integers:
        """Any cell."""
        return generator.integers(self.config.size, size=2)

    def pay(self, cells: Integers, found: Integers, tasks: Integers) -> tuple[FloatArray, Integers]:
        """One step may find both, where key and door lie on one cell."""
        now = np.where((found == NOTHING) & (cells == tasks[:, :2]).all(axis=1), KEY, found)
        now = np.where((now == KEY) & (cells == tasks[:, 2:]).all(axis=1), DOOR, now)
        return (now - found).astype(np.float32), now

    def measure_success(self, cells: Integers, found: Integers, tasks: Integers) -> FloatArray:
        return (found / DOOR).astype(np.float32)
