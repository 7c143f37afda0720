"""What makes a registered environment of a family's formulas: settings, tasks, one task alone, many as a batch.

Gymnasium is imported when a task is made, so that a family's sizes and tasks are known without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from icrl_plugins.environments.grid_worlds.grid import GridConfig, GridFormulas
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array, BatchedEnvironment, Environment, Task

if TYPE_CHECKING:
    import gymnasium


class GridWorld(GridFormulas, Environment):
    """Base of the families. A subclass gives the class attributes and the formulas; the rest is here."""

    Config: ClassVar[type[ComponentConfig]] = GridConfig
    id: ClassVar[str]
    task_parameter_names: ClassVar[tuple[str, ...]]

    def __init__(self, config: ComponentConfig) -> None:
        if not isinstance(config, GridConfig) or not isinstance(config, self.Config):
            raise TypeError(f"{self.id} takes a {self.Config.__qualname__}, got {type(config).__name__}")
        self.config = config

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

    def make(self, task: Task, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        """A Gymnasium environment of this one task; `render_mode` "rgb_array" draws it from above, hidden cells included."""
        from icrl_plugins.environments.grid_worlds.gymnasium_env import GridEnv

        return GridEnv(self, task, render_mode)

    def make_batch(self, tasks: Sequence[Task]) -> BatchedEnvironment:
        """K tasks as arrays; numbers equal those of `make`."""
        from icrl_plugins.environments.grid_worlds.stepping import GridBatch

        return GridBatch(self, [task.parameters for task in tasks])
