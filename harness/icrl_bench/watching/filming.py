"""A batch of environments that films: one task's chosen episodes are played a second time by an environment that can be drawn.

The agent adapts to all tasks of the row together, as it did when the row was made: its noise and its arithmetic depend on the
batch. So the whole batch is stepped here too, and beside it, in step with one of its tasks, a Gymnasium environment of that
task with the same seeds and actions. What is drawn is therefore what happened; each reward of the two is compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from icrl_registry.actions import for_gymnasium
from icrl_registry.contracts import Array, BatchedEnvironment, BatchedStep, BoolArray, FloatArray
from icrl_registry.errors import BenchError
from icrl_registry.onlookers.rendering import Frame, Renderer

if TYPE_CHECKING:
    import gymnasium

TOLERANCE = 1e-4  # between the rewards of a task alone and in a batch, relative to their size or 1


class Filmed(Exception):
    """Everything that was asked for is on film: the way out of a rollout whose rest nobody watches."""


@dataclass
class Shot:
    """One filmed episode: its pictures, and the step and the return so far at each of them."""

    episode: int  # counted from 1
    frames: list[Frame] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)


class FilmedBatch(BatchedEnvironment):
    """Another batch, of which the episodes `episodes` (from 1) of the task `row` are filmed."""

    def __init__(
        self,
        batch: BatchedEnvironment,
        row: int,
        episodes: Sequence[int],
        env: gymnasium.Env[Any, Any],
        renderer: Renderer,
        stride: int = 1,
    ) -> None:
        """`stride`: environment steps from one picture to the next; the first and the last state are always drawn."""
        self.batch, self.row, self.stride = batch, row, stride
        self.num_tasks = batch.num_tasks
        self.env, self.renderer = env, renderer
        self.shots = [Shot(number) for number in sorted(episodes)]
        self.returns: list[float] = []  # of the task's finished episodes
        self._episode = 0  # of the task, counted from 1; 0 before the first reset
        self._step, self._return = 0, 0.0
        self._shot: Shot | None = None

    def reset(self, row: int, seed: int) -> FloatArray:
        """Starts an episode, as the other batch does.

        Raises:
            Filmed: that was the last one to be filmed.
        """
        if row == self.row:
            if self._episode == self.shots[-1].episode:
                raise Filmed
            self._episode += 1
            self._step, self._return = 0, 0.0
            self._shot = next((shot for shot in self.shots if shot.episode == self._episode), None)
            if self._shot is not None:
                self.env.reset(seed=seed)
                self._draw()
        return self.batch.reset(row, seed)

    def step(self, actions: FloatArray, active: BoolArray) -> BatchedStep:
        step = self.batch.step(actions, active)
        if active[self.row]:
            self._follow(actions[self.row], step)
        return step

    def close(self) -> None:
        self.renderer.close()
        self.env.close()
        self.batch.close()

    def save(self) -> Mapping[str, Array] | None:
        return None

    def _follow(self, action: FloatArray, step: BatchedStep) -> None:
        reward = float(step.rewards[self.row])
        over = bool(step.terminated[self.row] or step.truncated[self.row])
        self._step += 1
        self._return += reward
        if self._shot is not None:
            alone = float(self.env.step(for_gymnasium(action, self.env.action_space))[1])
            if not math.isclose(alone, reward, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
                raise BenchError(
                    f"in episode {self._episode}, step {self._step} the task alone pays {alone:.6g}, in the batch {reward:.6g}:"
                    " a picture of it would be of something else",
                    "`icrl-bench plugins check` on the environment compares the two",
                )
            if over or self._step % self.stride == 0:
                self._draw()
        if over:
            self.returns.append(self._return)

    def _draw(self) -> None:
        assert self._shot is not None
        self._shot.frames.append(self.renderer.draw(self._step))
        self._shot.steps.append(self._step)
        self._shot.returns.append(self._return)
