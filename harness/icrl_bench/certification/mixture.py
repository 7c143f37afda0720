"""All training tasks as one MDP: a task is drawn at each reset, and nobody says which.

A source that learns it learns the best that a policy without memory can do without knowing the task, up to how well it
optimises: the blind ceiling by reinforcement learning (a task-blind policy that is cloned instead averages what experts do,
which may be worse than doing nothing).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import (
    Array,
    BatchedEnvironment,
    BatchedStep,
    BoolArray,
    Environment,
    EnvironmentSpec,
    FloatArray,
    Task,
)


def drawn_task(seed: int, count: int) -> int:
    """Which of `count` tasks an episode that is reset with `seed` is played in."""
    return int(np.random.default_rng(seed).integers(count))


class TaskMixture(Environment):
    """An environment whose every episode is of one of `tasks`, drawn from the seed of its reset.

    The tasks that a source is asked to train on only name its learners: each of them lives in the same mixture.
    """

    Config: ClassVar[type[ComponentConfig]] = ComponentConfig

    def __init__(self, environment: Environment, tasks: Sequence[Task]) -> None:
        self.environment, self.tasks = environment, tuple(tasks)
        self.config: ComponentConfig = environment.config  # type: ignore[attr-defined]
        self.id = environment.id
        self.task_parameter_names = ("mixture",)

    @property
    def spec(self) -> EnvironmentSpec:
        return self.environment.spec

    def sample_task_parameters(self, generator: np.random.Generator) -> Array:
        """There is one task, the mixture: what a source may see of it tells nothing."""
        return np.zeros(len(self.task_parameter_names))

    def make(self, task: Task, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        """The mixture as a Gymnasium environment."""
        return _MixedEpisodes([self.environment.make(each, render_mode) for each in self.tasks])

    def make_batch(self, tasks: Sequence[Task]) -> BatchedEnvironment:
        """`len(tasks)` independent copies of the mixture, stepped together."""
        return _MixedBatch(self.environment, self.tasks, len(tasks))


class _MixedBatch(BatchedEnvironment):
    """Row r lives in row r·M + m of a batch that holds all M tasks for each row, where m is the task of its episode."""

    def __init__(self, environment: Environment, tasks: Sequence[Task], num_rows: int) -> None:
        self.num_tasks, self._choices = num_rows, len(tasks)
        self._batch = environment.make_batch([task for _ in range(num_rows) for task in tasks])
        spec = environment.spec
        self._actions = np.zeros((num_rows * len(tasks), spec.action_size), dtype=np.float32)
        self._places = np.arange(num_rows) * len(tasks)  # (rows,), where each row's episode is played

    def reset(self, row: int, seed: int) -> FloatArray:
        self._places[row] = row * self._choices + drawn_task(seed, self._choices)
        return self._batch.reset(int(self._places[row]), seed)

    def step(self, actions: FloatArray, active: BoolArray) -> BatchedStep:
        playing = np.zeros(len(self._actions), dtype=np.bool_)
        playing[self._places] = active
        self._actions[self._places] = actions
        step = self._batch.step(self._actions, playing)
        return BatchedStep(
            step.observations[self._places],
            step.rewards[self._places],
            step.terminated[self._places],
            step.truncated[self._places],
        )

    def close(self) -> None:
        self._batch.close()


class _MixedEpisodes(gymnasium.Env[Any, Any]):
    """One Gymnasium environment a task, of which each reset chooses one."""

    def __init__(self, environments: Sequence[gymnasium.Env[Any, Any]]) -> None:
        self._environments, self._current = environments, environments[0]
        self.observation_space, self.action_space = self._current.observation_space, self._current.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self._current = self._environments[drawn_task(seed, len(self._environments))]
        return self._current.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self._current.step(action)
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        for environment in self._environments:
            environment.close()
