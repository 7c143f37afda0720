"""A family of tasks on a square grid: what it states, and the environment that is made of it.

A cell is (column, row), counted from 0 at the lower left; the actions are to stay, up, right, down and left, and a step
against the wall stays. A family (`dark_room.py`, `dark_key_to_door.py`) says where an episode starts, what a step pays and
when an episode is a success; `stepping.py` steps any number of tasks together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array, BatchedEnvironment, Environment, EnvironmentSpec, FloatArray, Task

if TYPE_CHECKING:
    import gymnasium

Integers = NDArray[np.int64]

#: Where each action moves to, (A, 2): columns and rows. Action 0 stays.
MOVES: Integers = np.array([(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)], dtype=np.int64)


class GridConfig(ComponentConfig):
    """What every grid world has."""

    size: int = Field(9, ge=2, description="cells along a side of the square")
    horizon: int = Field(20, ge=1, description="steps of an episode")


class GridWorld(Environment):
    """Base of the families. A subclass gives the class attributes and what is abstract here."""

    Config: ClassVar[type[ComponentConfig]] = GridConfig
    id: ClassVar[str]
    task_parameter_names: ClassVar[tuple[str, ...]]  # (column, row) of each hidden cell
    num_found: ClassVar[int] = 0
    """How many things of an episode the agent sees that it has found, beside its cell; none, and it sees its cell alone."""

    def __init__(self, config: ComponentConfig) -> None:
        if not isinstance(config, GridConfig) or not isinstance(config, self.Config):
            raise TypeError(f"{self.id} takes a {self.Config.__qualname__}, got {type(config).__name__}")
        self.config = config

    @property
    def spec(self) -> EnvironmentSpec:
        values = (self.config.size, self.config.size, *([self.num_found + 1] if self.num_found else []))
        return EnvironmentSpec(self.id, len(values), len(MOVES), self.config.horizon, "discrete", values)

    def all_task_parameters(self) -> Array:
        """Every choice of the hidden cells, (N, P)."""
        size, names = self.config.size, self.task_parameter_names
        every: Array = np.indices([size] * len(names)).reshape(len(names), -1).T.astype(np.float64)
        return every

    def num_tasks(self) -> int:
        return int(self.config.size ** len(self.task_parameter_names))

    def sample_task_parameters(self, generator: np.random.Generator) -> Array:
        return generator.integers(self.config.size, size=len(self.task_parameter_names)).astype(np.float64)

    def sample_training_parameters(self, count: int, generator: np.random.Generator) -> Array:
        """Draws without repeats, (count, P)."""
        size, names = self.config.size, self.task_parameter_names
        numbers = generator.choice(self.num_tasks(), count, replace=count > self.num_tasks())  # of tasks
        return np.stack(np.unravel_index(numbers, [size] * len(names)), axis=1).astype(np.float64)

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

    def make(self, task: Task, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        """A Gymnasium environment of this one task; `render_mode` "rgb_array" draws it from above, hidden cells included."""
        from icrl_plugins.environments.grid_worlds.gymnasium_env import GridEnv

        return GridEnv(self, task, render_mode)

    def make_batch(self, tasks: Sequence[Task]) -> BatchedEnvironment:
        """K tasks as arrays; numbers equal those of `make`."""
        from icrl_plugins.environments.grid_worlds.stepping import GridBatch

        return GridBatch(self, [task.parameters for task in tasks])
