"""Records what happens in the parallel environments of a source, below the vector environment.

A vector environment resets by itself and so hides an episode's last observation; an algorithm that samples from an unbounded
Gaussian knows an action that was never executed. Recording where the single environment is stepped avoids both: the true
successor is stored also at an episode's end, and the action is clipped here, so what is stored is what was executed.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np

from icrl_registry.contracts import Array, EnvironmentSpec, FloatArray, LearningHistory, Task
from icrl_registry.errors import NumericalError


class HistoryRecorder:
    """The arrays of one learning history, filled stream by stream while a source trains.

    Args:
        task: what the source trains on; its label names the place in errors.
        spec: gives the observation size O and the action size A.
        num_streams: S, the number of parallel environments.
        num_steps: T, the number of steps of every stream.
        record_policy_means: whether to keep a column for the acting policy's mean actions.
    """

    def __init__(
        self, task: Task, spec: EnvironmentSpec, num_streams: int, num_steps: int, record_policy_means: bool = False
    ) -> None:
        size = (num_streams, num_steps)
        self.task = task
        self.num_streams = num_streams
        self.num_steps = num_steps
        self.observations = np.zeros((*size, spec.observation_size), dtype=np.float32)  # (S, T, O)
        self.next_observations = np.zeros((*size, spec.observation_size), dtype=np.float32)  # (S, T, O)
        self.actions = np.zeros((*size, spec.action_size), dtype=np.float32)  # (S, T, A)
        self.rewards = np.zeros(size, dtype=np.float32)  # (S, T)
        self.terminated = np.zeros(size, dtype=np.bool_)  # (S, T)
        self.truncated = np.zeros(size, dtype=np.bool_)  # (S, T)
        self.policy_means = np.zeros_like(self.actions) if record_policy_means else None  # (S, T, A)
        self.steps_taken = [0] * num_streams

    def history(self) -> LearningHistory:
        """The complete history.

        Raises:
            RuntimeError: a stream has not seen all of its steps.
        """
        if any(steps != self.num_steps for steps in self.steps_taken):
            raise RuntimeError(
                f"{self.task.label}: the streams have {self.steps_taken} steps, expected {self.num_steps} each"
            )
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


class RecordedEnvironment(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One environment whose steps fill one stream of a `HistoryRecorder`.

    The learner sees an empty `info` and, if `reward_scale` isn't 1, a scaled reward; the record keeps the true one.
    """

    def __init__(
        self, environment: gymnasium.Env[Any, Any], recorder: HistoryRecorder, stream: int, reward_scale: float = 1.0
    ) -> None:
        super().__init__(environment)
        self._recorder = recorder
        self._stream = stream
        self._reward_scale = reward_scale
        self._observation: FloatArray | None = None
        self._episode = 0
        self._episode_step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode. Not a step, so nothing is recorded."""
        observation, _ = self.env.reset(seed=seed, options=options)
        self._episode_step = 0
        self._require_finite(observation, "the reset observation")
        self._observation = observation
        return observation, {}

    def step(self, action: Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Executes `action` (A,), clipped to [-1, 1], and records the transition.

        Raises:
            NumericalError: the action, the reward or the next observation is not finite.
            RuntimeError: the stream is already full.
        """
        recorder, stream, step = self._recorder, self._stream, self._recorder.steps_taken[self._stream]
        if step >= recorder.num_steps:
            raise RuntimeError(
                f"{recorder.task.label}: stream {stream} was stepped beyond its {recorder.num_steps} steps"
            )
        self._require_finite(action, "the policy's action")
        executed = np.clip(action, -1.0, 1.0, dtype=np.float32)
        observation, reward, terminated, truncated, _ = self.env.step(executed)
        self._require_finite(observation, "the observation")
        if not math.isfinite(reward):
            self._refuse("the reward", reward)
        recorder.observations[stream, step] = self._observation
        recorder.actions[stream, step] = executed
        recorder.rewards[stream, step] = reward
        recorder.next_observations[stream, step] = observation
        recorder.terminated[stream, step] = terminated
        recorder.truncated[stream, step] = truncated
        recorder.steps_taken[stream] = step + 1
        self._observation = observation
        self._episode_step += 1
        if terminated or truncated:
            self._episode += 1
        return observation, float(reward) * self._reward_scale, terminated, truncated, {}

    def _require_finite(self, values: Array, what: str) -> None:
        if not np.isfinite(values).all():
            self._refuse(what, values)

    def _refuse(self, what: str, value: Any) -> None:
        raise NumericalError(
            f"task {self._recorder.task.label}, stream {self._stream}, episode {self._episode}, "
            f"step {self._episode_step}: {what} is {value}, expected finite numbers",
            "if the policy diverged, lower the source's learning rate (--set source.learning_rate=VALUE); "
            "otherwise the environment is at fault (`icrl-bench plugins check ENVIRONMENT`)",
        )
