"""One task of a grid world as a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from icrl_plugins.environments.grid_worlds.grid import MOVES, GridFormulas
from icrl_plugins.environments.grid_worlds.stepping import GridBatch
from icrl_registry.actions import one_hot
from icrl_registry.contracts import FloatArray, Task

PIXELS = 24  # along a cell's side
FLOOR, LINES, HIDDEN, AGENT = (245, 245, 245), (205, 205, 205), (230, 159, 0), (0, 114, 178)


class GridEnv(gymnasium.Env[FloatArray, np.int64]):
    """A single, fixed task, truncated after the family's horizon."""

    #: Gymnasium declares these on every environment, so they are no `ClassVar`.
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012

    def __init__(self, family: GridFormulas, task: Task, render_mode: str | None = None) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(f"render_mode {render_mode!r} is none of {', '.join(self.metadata['render_modes'])}")
        self.family, self.render_mode = family, render_mode
        self._batch = GridBatch(family, [task.parameters])
        highest = np.array(family.spec.observation_values, dtype=np.float32) - 1
        self.observation_space = Box(np.zeros_like(highest), highest, dtype=np.float32)
        self.action_space = Discrete(len(MOVES))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        super().reset(seed=seed)
        return self._batch.start(0, self.np_random), {}

    def step(self, action: np.int64) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """One step.

        Raises:
            ValueError: no such action, or a step before the first reset.
        """
        if not self.action_space.contains(action):
            raise ValueError(f"{self.family.id} has the actions 0 to {len(MOVES) - 1}, not {action!r}")
        step = self._batch.step(one_hot(np.array([action]), len(MOVES)), np.ones(1, dtype=np.bool_))
        info = {} if step.successes is None else {"success": float(step.successes[0])}
        return step.observations[0], float(step.rewards[0]), False, bool(step.truncated[0]), info

    def render(self) -> NDArray[np.uint8] | None:
        """The grid from above, (H, W, 3) uint8: the hidden cells and the agent."""
        if self.render_mode is None:
            return None
        size = self.family.config.size
        image = np.full((size * PIXELS, size * PIXELS, 3), FLOOR, dtype=np.uint8)
        image[::PIXELS], image[:, ::PIXELS] = LINES, LINES
        hidden = self._batch.tasks[0].reshape(-1, 2)
        for (column, row), colour, margin in [
            *((cell, HIDDEN, 1) for cell in hidden),
            (self._batch.cells[0], AGENT, 6),
        ]:
            top, left = (size - 1 - row) * PIXELS, column * PIXELS
            image[top + margin : top + PIXELS - margin + 1, left + margin : left + PIXELS - margin + 1] = colour
        return image
