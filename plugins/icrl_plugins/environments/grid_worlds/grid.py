"""What a family of tasks on a square grid states: where an episode starts, what a step pays, when an episode is a success.

A cell is (column, row), counted from 0 at the lower left; the actions are to stay, up, right, down and left, and a step
against the wall stays. `stepping.py` steps any number of tasks together, `gymnasium_env.py` shows one task as a Gymnasium
environment, and `grid_world.py` makes a registered environment of both. Imports point one way: this module is at the bottom.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array, EnvironmentSpec, FloatArray

Integers = NDArray[np.int64]

#: Where each action moves to, (A, 2): columns and rows. Action 0 stays.
MOVES: Integers = np.array([(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)], dtype=np.int64)


class GridConfig(ComponentConfig):
    """What every grid world has."""

    size: int = Field(9, ge=2, description="cells along a side of the square")
    horizon: int = Field(20, ge=1, description="steps of an episode")


class GridFormulas(ABC):
    """What stepping asks of a family. A subclass gives the class attributes and what is abstract here."""

    id: ClassVar[str]
    task_parameter_names: ClassVar[tuple[str, ...]]  # (column, row) of each hidden cell
    num_found: ClassVar[int] = 0
    """How many things of an episode the agent sees that it has found, beside its cell; none, and it sees its cell alone."""
    config: GridConfig

    @property
    def spec(self) -> EnvironmentSpec:
        """Column, row and, where there are some, how many things were found; five actions."""
        values = (self.config.size, self.config.size, *([self.num_found + 1] if self.num_found else []))
        return EnvironmentSpec(self.id, len(values), len(MOVES), self.config.horizon, "discrete", values)

    def why_outside(self, parameters: Array) -> str | None:
        """What keeps a task (P,) out of the family, in words; None for a task within it."""
        cells, size = np.asarray(parameters), self.config.size
        if np.array_equal(cells, np.round(cells)) and (cells >= 0).all() and (cells < size).all():
            return None
        return f"columns and rows are whole numbers from 0 to {size - 1}"

    @abstractmethod
    def start(self, generator: np.random.Generator) -> Integers:
        """The cell of an episode's beginning, (2,)."""

    @abstractmethod
    def pay(self, cells: Integers, found: Integers, tasks: Integers) -> tuple[FloatArray, Integers]:
        """What it pays to stand on `cells` (R, 2) after a step, (R,), and what has been found then, (R,).

        Args:
            cells: where the R agents stand.
            found: how many things each had found before, (R,).
            tasks: the hidden cells, (R, P).
        """

    @abstractmethod
    def measure_success(self, cells: Integers, found: Integers, tasks: Integers) -> FloatArray:
        """Of episodes that end so, (R,) in [0, 1]; arguments as for `pay`."""

    def observe(self, cells: Integers, found: Integers) -> FloatArray:
        """(R, O): column, row and, where the family has some, how many things were found."""
        seen = [cells, found[:, None]] if self.num_found else [cells]
        return np.concatenate(seen, axis=1).astype(np.float32)
