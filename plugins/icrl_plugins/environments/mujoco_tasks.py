"""What makes a registered environment of a family's formulas: settings, sizes, one task alone, many as a batch.

A family (`reacher_goal.py`, …) derives from `MujocoTasks` and holds only formulas over `PhysicsState`. The simulator is
imported when a task is made, so that a family's sizes and tasks are known without MuJoCo.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from icrl_plugins.environments.formulas import Formulas
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import BatchedEnvironment, Environment, EnvironmentSpec, Task

if TYPE_CHECKING:
    import gymnasium


class MujocoTasks(Formulas, Environment):
    """Base of the families. A subclass gives the class attributes and the formulas; the rest is here."""

    id: ClassVar[str]
    task_parameter_names: ClassVar[tuple[str, ...]]

    def __init__(self, config: ComponentConfig) -> None:
        if not isinstance(config, self.Config):
            raise TypeError(f"{self.id} takes a {self.Config.__qualname__}, got {type(config).__name__}")
        self.config = config

    @property
    def spec(self) -> EnvironmentSpec:
        return EnvironmentSpec(self.id, self.observation_size, self.action_size, self.horizon)

    def make(self, task: Task, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        """A Gymnasium environment of this one task. `render_mode` is one of its `metadata["render_modes"]`."""
        from icrl_plugins.environments.gymnasium_env import make_with_time_limit

        return make_with_time_limit(self, task, render_mode)

    def make_batch(self, tasks: Sequence[Task]) -> BatchedEnvironment:
        """K tasks on one compiled model; numbers equal those of `make`, without its overhead."""
        from icrl_plugins.environments.simulation import MujocoBatch

        return MujocoBatch(self, [task.parameters for task in tasks])
