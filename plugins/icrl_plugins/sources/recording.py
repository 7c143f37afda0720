"""Records what happens in the parallel environments of a source, below the learner's vector environment.

A learner's vector environment resets by itself and so hides an episode's last observation, and an algorithm that samples
from an unbounded Gaussian knows actions that were never executed. Recording where the environments are stepped avoids
both: the true successor is stored also at an episode's end, and the action is clipped here, so what is stored is what
was executed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class TransitionColumns:
    """Where the parts of a transition lie in a row of `HistoryRecorder.transitions`.

    Observation and action are neighbours, as the critics read them together.
    """

    def __init__(self, observation_size: int, action_size: int) -> None:
        both = observation_size + action_size
        self.observations = slice(0, observation_size)
        self.actions = slice(observation_size, both)
        self.observations_and_actions = slice(0, both)
        self.next_observations = slice(both, both + observation_size)
        self.reward = both + observation_size
        self.terminated = both + observation_size + 1
        self.width = both + observation_size + 2


class HistoryRecorder:
    """S copies of each of K tasks that are stepped together, and the learning histories that they have written so far.

    All transitions lie in one array, `transitions`, of which the columns are views: what an algorithm replays is gathered
    from it by one index. Row r is stream r mod S of task r // S.

    Args:
        batch: the copies, K·S rows.
        tasks: what they are copies of; their labels name the place in errors.
        spec: gives the observation size O and the action size A.
        num_steps: T, the number of steps of every stream.
        record_policy_means: whether to keep a column for the acting policy's mean actions.
    """

    def __init__(
        self,
        batch: BatchedEnvironment,
        tasks: Sequence[Task],
        spec: EnvironmentSpec,
        num_steps: int,
        record_policy_means: bool = False,
    ) -> None:
        observation_size, action_size = spec.observation_size, spec.action_size
        self.tasks = list(tasks)
        self.num_rows = batch.num_tasks  # K·S
        self.num_streams = batch.num_tasks // len(self.tasks)  # S
        self.num_steps = num_steps
        self.steps_taken = 0
        self.columns = TransitionColumns(observation_size, action_size)
        self.transitions = np.zeros((self.num_rows, num_steps, self.columns.width), dtype=np.float32)  # (K·S, T, …)
        self.observations = self.transitions[..., self.columns.observations]  # (K·S, T, O)
        self.next_observations = self.transitions[..., self.columns.next_observations]  # (K·S, T, O)
        self.actions = self.transitions[..., self.columns.actions]  # (K·S, T, A)
        self.rewards = self.transitions[..., self.columns.reward]  # (K·S, T)
        self.terminated = self.transitions[..., self.columns.terminated]  # (K·S, T), 0 or 1
        self.truncated = np.zeros((self.num_rows, num_steps), dtype=np.bool_)  # (K·S, T)
        self.policy_means = (  # (K·S, T, A)
            np.zeros((self.num_rows, num_steps, action_size), dtype=np.float32) if record_policy_means else None
        )
        self.current = np.zeros((self.num_rows, observation_size), dtype=np.float32)  # (K·S, O)
        self._batch = batch
        self._all = np.ones(self.num_rows, dtype=np.bool_)

    def reset(self, row: int, seed: int) -> FloatArray:
        """Starts an episode of `row`; returns its first observation, (O,). Not a step, so nothing is recorded."""
        self.current[row] = self._batch.reset(row, seed)
        if not np.isfinite(self.current[row]).all():
            self._refuse(row, "the reset observation", self.current[row])
        first: FloatArray = self.current[row].copy()
        return first

    def step(self, actions: Array) -> BatchedStep:
        """Executes `actions` (K·S, A), clipped to [-1, 1], and records the transitions.

        Raises:
            NumericalError: an action, a reward or a next observation is not finite.
            RuntimeError: the histories are already complete.
        """
        t = self.steps_taken
        if t >= self.num_steps:
            raise RuntimeError(f"{self.tasks[0].label} was stepped beyond its {self.num_steps} steps")
        self._require_finite(actions, "the policy's action")
        executed = np.clip(actions, -1.0, 1.0, dtype=np.float32)
        step = self._batch.step(executed, self._all)
        self._require_finite(step.observations, "the observation")
        self._require_finite(step.rewards, "the reward")
        self.observations[:, t] = self.current
        self.actions[:, t] = executed
        self.rewards[:, t] = step.rewards
        self.next_observations[:, t] = step.observations
        self.terminated[:, t] = step.terminated
        self.truncated[:, t] = step.truncated
        self.current[:] = step.observations
        self.steps_taken = t + 1
        return step

    def history(self, index: int = 0) -> LearningHistory:
        """The complete history of the task at `index`.

        Raises:
            RuntimeError: the streams have not taken all of their steps.
        """
        task = self.tasks[index]
        if self.steps_taken != self.num_steps:
            raise RuntimeError(f"{task.label} has {self.steps_taken} steps a stream, expected {self.num_steps}")
        rows = slice(index * self.num_streams, (index + 1) * self.num_streams)
        return LearningHistory(
            task=task,
            observations=np.ascontiguousarray(self.observations[rows]),
            actions=np.ascontiguousarray(self.actions[rows]),
            rewards=np.ascontiguousarray(self.rewards[rows]),
            next_observations=np.ascontiguousarray(self.next_observations[rows]),
            terminated=self.terminated[rows] != 0,
            truncated=self.truncated[rows],
            policy_means=None if self.policy_means is None else self.policy_means[rows],
        )

    def save(self) -> dict[str, Array]:
        """What was recorded so far, and where every row stands; see `restore`."""
        t = self.steps_taken
        means = {} if self.policy_means is None else {"policy_means": self.policy_means[:, :t].copy()}
        recorded = {"transitions": self.transitions[:, :t].copy(), "truncated": self.truncated[:, :t].copy()}
        return {**recorded, **means, "current": self.current.copy()}

    def restore(self, saved: Mapping[str, Array]) -> None:
        """Goes on from what `save` gave; the batch is restored by its owner."""
        t = self.steps_taken = saved["transitions"].shape[1]
        self.transitions[:, :t] = saved["transitions"]
        self.truncated[:, :t] = saved["truncated"]
        self.current[:] = saved["current"]
        if self.policy_means is not None:
            self.policy_means[:, :t] = saved["policy_means"]

    def _require_finite(self, values: Array, what: str) -> None:
        """`values` (K·S, …)."""
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.flatnonzero(~finite.reshape(self.num_rows, -1).all(axis=1))[0])
            self._refuse(row, what, values[row])

    def _refuse(self, row: int, what: str, value: Any) -> None:
        """Episodes of a stream and steps of an episode are counted from 0."""
        past = self.steps_taken
        task, stream = self.tasks[row // self.num_streams], row % self.num_streams
        ends = np.flatnonzero((self.terminated[row, :past] != 0) | self.truncated[row, :past]) + 1
        step = past - int(ends[-1]) if len(ends) else past
        raise NumericalError(
            f"task {task.label}, stream {stream}, episode {len(ends)}, step {step}: "
            f"{what} is {value}, expected finite numbers",
            "if the policy diverged, lower the source's learning rate (--set source.learning_rate=VALUE); "
            "otherwise the environment is at fault (`icrl-bench plugins check ENVIRONMENT`)",
        )
