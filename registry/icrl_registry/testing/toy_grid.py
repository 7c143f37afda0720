"""The toy problem with discrete actions: a walk on 5 × 5 cells to a place that isn't told.

The next observation is `clip(cell + MOVES[action], 0, 4)`, the reward minus the steps that it is from there to the hidden cell.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from icrl_registry.actions import action_numbers, one_hot
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array, BatchedEnvironment, EnvironmentSpec, FloatArray, Task
from icrl_registry.testing.toy import ToyPoint, ToyPointConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    import gymnasium

SIDE = 5  # cells
MOVES = np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], dtype=np.float32)  # (A, 2)


class ToyGrid(ToyPoint):
    """O = 2 (cell), A = 5 (stay, or a step), P = 2 (goal). An episode starts in one of the nine cells in the middle."""

    Config = ToyPointConfig
    id = "toy-grid-v1"
    task_parameter_names = ("goal_column (cells)", "goal_row (cells)")

    def __init__(self, config: ComponentConfig | None = None) -> None:
        super().__init__(config)

    @property
    def spec(self) -> EnvironmentSpec:
        return EnvironmentSpec(self.id, 2, len(MOVES), self.config.horizon, "discrete", (SIDE, SIDE))

    def all_task_parameters(self) -> Array:
        every: Array = np.indices((SIDE, SIDE)).reshape(2, -1).T.astype(np.float64)
        return every

    def sample_task_parameters(self, generator: np.random.Generator) -> Array:
        return generator.integers(SIDE, size=2).astype(np.float64)

    def make(self, task: Task, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        from gymnasium.wrappers import TimeLimit

        return TimeLimit(_walk_class()(self, np.asarray(task.parameters)), self.config.horizon)

    def make_batch(self, tasks: Sequence[Task]) -> BatchedEnvironment:
        return ToyPoint.make_batch(self, tasks)

    def successors(self, observations: Array, actions: Array) -> FloatArray:
        moved: FloatArray = np.clip(np.asarray(observations) + MOVES[action_numbers(actions)], 0, SIDE - 1)
        return moved.astype(np.float32)

    def rewards(self, next_observations: Array, parameters: Array) -> Array:
        distances: Array = np.abs(np.asarray(next_observations, np.float64) - parameters).sum(axis=-1)
        return -distances

    def best_actions(self, observations: Array, parameters: Array) -> FloatArray:
        """The first of the moves that come closest."""
        after = np.clip(np.asarray(observations)[..., None, :] + MOVES, 0, SIDE - 1)  # (…, A, 2)
        return one_hot(self.rewards(after, np.asarray(parameters)).argmax(axis=-1), len(MOVES))

    def start(self, generator: np.random.Generator) -> FloatArray:
        return generator.integers(1, SIDE - 1, size=2).astype(np.float32)

    def improving_actions(
        self, observation: Array, parameters: Array, skill: float, generator: np.random.Generator
    ) -> Array:
        if generator.random() < skill:
            return self.best_actions(observation, parameters)
        return one_hot(np.array(generator.integers(len(MOVES))), len(MOVES))


@functools.cache
def _walk_class() -> Any:
    """The Gymnasium class, made on first use because importing this module must not import Gymnasium."""
    import gymnasium
    from gymnasium.spaces import Box, Discrete

    class Walk(gymnasium.Env[Any, Any]):
        observation_space = Box(0.0, SIDE - 1.0, (2,), np.float32)
        action_space = Discrete(len(MOVES))

        def __init__(self, family: ToyGrid, goal: Array) -> None:
            self.family, self.goal = family, goal

        def reset(
            self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
        ) -> tuple[Array, dict[str, Any]]:
            super().reset(seed=seed)
            self.position = self.family.start(self.np_random)
            return self.position, {}

        def step(self, action: int) -> tuple[Array, float, bool, bool, dict[str, Any]]:
            self.position = self.family.successors(self.position, one_hot(np.array(action), len(MOVES)))
            return self.position, float(self.family.rewards(self.position, self.goal)), False, False, {}

    return Walk


def toy_of(component: Any) -> ToyPoint:
    """The toy that a source or method is tried on: the one with continuous actions, if it learns them."""
    return ToyPoint() if "continuous" in component.action_kinds else ToyGrid()
