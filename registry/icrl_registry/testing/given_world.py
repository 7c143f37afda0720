"""A world in the place of the toys: an installed environment, for sources and methods that need a certain one.

The toys are known in closed form; of a given environment only its contract is. So what is checked in it is what can be seen
from outside: shapes, ranges, seeds, resumption, the ends of episodes, and that successors are the next observations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icrl_registry.actions import executed
from icrl_registry.contracts import (
    Array,
    BatchedEnvironment,
    Environment,
    EnvironmentSpec,
    FloatArray,
    LearningHistory,
    Split,
    Task,
)
from icrl_registry.errors import PluginError
from icrl_registry.testing.toy import ToyPoint, ToyPointConfig
from icrl_registry.testing.toy_grid import toy_of

if TYPE_CHECKING:
    import gymnasium

    from icrl_registry.testing.trial import Trial


class GivenWorld(ToyPoint):
    """An environment with what the checks use of a toy, as far as it can be had."""

    has_closed_form = False

    def __init__(self, environment: Environment) -> None:
        super().__init__(ToyPointConfig(horizon=environment.spec.horizon))
        self.environment = environment

    @property
    def spec(self) -> EnvironmentSpec:
        return self.environment.spec

    def sample_task_parameters(self, generator: np.random.Generator) -> Array:
        return self.environment.sample_task_parameters(generator)

    def make(self, task: Task, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        return self.environment.make(task)

    def make_batch(self, tasks: Sequence[Task]) -> BatchedEnvironment:
        return self.environment.make_batch(tasks)

    def tasks(self, count: int, seed: int = 0, split: Split = "train") -> list[Task]:
        drawn = self.environment.sample_training_parameters(count, np.random.default_rng(seed))  # (count, P)
        return [Task(tuple(map(float, row)), split, index) for index, row in enumerate(drawn)]

    def history(self, task: Task, num_episodes: int, seed: int) -> LearningHistory:
        """Random actions in a task, (1, T, …): there is no learner that is known to learn here."""
        generator = np.random.default_rng([seed, task.index])
        batch, rows, alone = self.make_batch([task]), [], np.ones(1, dtype=np.bool_)
        for _ in range(num_episodes):
            observation = np.array(batch.reset(0, seed=int(generator.integers(2**31))))  # (O,)
            ended = False
            while not ended:
                chosen = generator.uniform(-1, 1, (1, self.spec.action_size)).astype(np.float32)
                action = executed(chosen, self.spec)
                step = batch.step(action, alone)
                following = np.array(step.observations[0])
                flags = bool(step.terminated[0]), bool(step.truncated[0])
                rows.append((observation, action[0], float(step.rewards[0]), following, *flags))
                observation, ended = following, any(flags)
        batch.close()
        columns = [np.stack([np.asarray(row[place]) for row in rows])[None] for place in range(6)]
        observations, actions, rewards, followings, terminated, truncated = columns
        return LearningHistory(
            task=task,
            observations=observations.astype(np.float32),
            actions=actions.astype(np.float32),
            rewards=rewards.astype(np.float32),
            next_observations=followings.astype(np.float32),
            terminated=terminated.astype(np.bool_),
            truncated=truncated.astype(np.bool_),
            policy_means=actions.astype(np.float32),
        )

    def successors(self, observations: Array, actions: Array) -> FloatArray:
        raise self._unknown()

    def rewards(self, next_observations: Array, parameters: Array) -> Array:
        raise self._unknown()

    def best_actions(self, observations: Array, parameters: Array) -> FloatArray:
        raise self._unknown()

    def _unknown(self) -> PluginError:
        return PluginError(f"{self.spec.id} is not known in closed form", "leave --env out to check on a toy")


def world_of(trial: Trial) -> ToyPoint:
    """What a source or method is tried in: the environment that was given, or the toy with its kind of actions."""
    return GivenWorld(trial.environment) if trial.environment is not None else toy_of(trial.component)
