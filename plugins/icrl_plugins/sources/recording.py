"""Records what happens in the parallel environments of a source, below the learner's vector environment.

A learner's vector environment resets by itself and so hides an episode's last observation, and an algorithm that samples
from an unbounded Gaussian knows actions that were never executed. Recording where the environments are stepped avoids
both: the true successor is stored also at an episode's end, and the action is clipped here, so what is stored is what
was executed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from icrl_registry.contracts import (
    Array,
    BatchedEnvironment,
    BatchedStep,
    EnvironmentSpec,
    FloatArray,
    LearningHistory,
    Task,
)
from icrl_registry.errors import NumericalError


class HistoryRecorder:
    """S copies of one task that are stepped together, and the learning history that they have written so far.

    Args:
        batch: the copies; each is one stream of the history.
        task: what they are copies of; its label names the place in errors.
        spec: gives the observation size O and the action size A.
        num_steps: T, the number of steps of every stream.
        record_policy_means: whether to keep a column for the acting policy's mean actions.
    """

    def __init__(
        self,
        batch: BatchedEnvironment,
        task: Task,
        spec: EnvironmentSpec,
        num_steps: int,
        record_policy_means: bool = False,
    ) -> None:
        size = (batch.num_tasks, num_steps)
        self.task = task
        self.num_streams = batch.num_tasks
        self.num_steps = num_steps
        self.steps_taken = 0
        self.observations = np.zeros((*size, spec.observation_size), dtype=np.float32)  # (S, T, O)
        self.next_observations = np.zeros((*size, spec.observation_size), dtype=np.float32)  # (S, T, O)
        self.actions = np.zeros((*size, spec.action_size), dtype=np.float32)  # (S, T, A)
        self.rewards = np.zeros(size, dtype=np.float32)  # (S, T)
        self.terminated = np.zeros(size, dtype=np.bool_)  # (S, T)
        self.truncated = np.zeros(size, dtype=np.bool_)  # (S, T)
        self.policy_means = np.zeros_like(self.actions) if record_policy_means else None  # (S, T, A)
        self._batch = batch
        self._all = np.ones(self.num_streams, dtype=np.bool_)
        self._current = np.zeros((self.num_streams, spec.observation_size), dtype=np.float32)  # (S, O)

    def reset(self, stream: int, seed: int) -> FloatArray:
        """Starts an episode of `stream`; returns its first observation, (O,). Not a step, so nothing is recorded."""
        self._current[stream] = self._batch.reset(stream, seed)
        if not np.isfinite(self._current[stream]).all():
            self._refuse(stream, "the reset observation", self._current[stream])
        return self._current[stream].copy()

    def step(self, actions: Array) -> BatchedStep:
        """Executes `actions` (S, A), clipped to [-1, 1], and records the transitions.

        Raises:
            NumericalError: an action, a reward or a next observation is not finite.
            RuntimeError: the history is already complete.
        """
        t = self.steps_taken
        if t >= self.num_steps:
            raise RuntimeError(f"{self.task.label} was stepped beyond its {self.num_steps} steps")
        self._require_finite(actions, "the policy's action")
        executed = np.clip(actions, -1.0, 1.0, dtype=np.float32)
        step = self._batch.step(executed, self._all)
        self._require_finite(step.observations, "the observation")
        self._require_finite(step.rewards, "the reward")
        self.observations[:, t] = self._current
        self.actions[:, t] = executed
        self.rewards[:, t] = step.rewards
        self.next_observations[:, t] = step.observations
        self.terminated[:, t] = step.terminated
        self.truncated[:, t] = step.truncated
        self._current[:] = step.observations
        self.steps_taken = t + 1
        return step

    def history(self) -> LearningHistory:
        """The complete history.

        Raises:
            RuntimeError: the streams have not taken all of their steps.
        """
        if self.steps_taken != self.num_steps:
            raise RuntimeError(f"{self.task.label} has {self.steps_taken} steps a stream, expected {self.num_steps}")
        return LearningHistory(
            task=self.task,
            observations=self.observations,
            actions=self.actions,
            rewards=self.rewards,
            next_observations=self.next_observations,
            terminated=self.terminated,
            truncated=self.truncated,
            policy_means=self.policy_means,
        )

    def _require_finite(self, values: Array, what: str) -> None:
        """`values` (S, …)."""
        finite = np.isfinite(values)
        if not finite.all():
            stream = int(np.flatnonzero(~finite.reshape(self.num_streams, -1).all(axis=1))[0])
            self._refuse(stream, what, values[stream])

    def _refuse(self, stream: int, what: str, value: Any) -> None:
        """Episodes of a stream and steps of an episode are counted from 0."""
        past = self.steps_taken
        ends = np.flatnonzero(self.terminated[stream, :past] | self.truncated[stream, :past]) + 1
        step = past - int(ends[-1]) if len(ends) else past
        raise NumericalError(
            f"task {self.task.label}, stream {stream}, episode {len(ends)}, step {step}: "
            f"{what} is {value}, expected finite numbers",
            "if the policy diverged, lower the source's learning rate (--set source.learning_rate=VALUE); "
            "otherwise the environment is at fault (`icrl-bench plugins check ENVIRONMENT`)",
        )
