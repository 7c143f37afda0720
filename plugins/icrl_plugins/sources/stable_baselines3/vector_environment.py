"""Recorded copies of one task as the vector environment that Stable-Baselines3 steps.

The library's own `DummyVecEnv` steps one Gymnasium environment after the other and copies what they return twice. This
one steps them as a batch, which an environment may implement much faster (`Environment.make_batch`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from icrl_plugins.randomness.seeds import draw_episode_seed, episode_seeds
from icrl_plugins.sources.recording import HistoryRecorder
from icrl_registry.contracts import Array, EnvironmentSpec, FloatArray


def observation_space(spec: EnvironmentSpec) -> spaces.Box:
    """Unbounded, (O,)."""
    return spaces.Box(-np.inf, np.inf, (spec.observation_size,), np.float32)


def action_space(spec: EnvironmentSpec) -> spaces.Box:
    """[-1, 1], (A,)."""
    return spaces.Box(-1.0, 1.0, (spec.action_size,), np.float32)


class RecordedVectorEnvironment(VecEnv):
    """Resets a stream when its episode ends, as Stable-Baselines3 expects, and scales the reward that the learner sees.

    The library seeds stream i with `seed` + i (`VecEnv.seed`). That number starts a generator (`episode_seeds`), from
    which each of the stream's resets draws the seed of its episode.
    """

    def __init__(self, recorder: HistoryRecorder, spec: EnvironmentSpec, reward_scale: float = 1.0) -> None:
        super().__init__(recorder.num_rows, observation_space(spec), action_space(spec))
        self._recorder = recorder
        self._reward_scale = np.float32(reward_scale)
        self._seed_generators = [episode_seeds(None) for _ in range(self.num_envs)]
        self._actions: Array = np.zeros((self.num_envs, spec.action_size), dtype=np.float32)

    def reset(self) -> FloatArray:
        """Starts an episode in every stream; (S, O)."""
        for stream, seed in enumerate(self._seeds):
            if seed is not None:
                self._seed_generators[stream] = episode_seeds(seed)
        self._reset_seeds()
        return np.stack([self._reset_stream(stream) for stream in range(self.num_envs)])

    def step_async(self, actions: Array) -> None:
        """Keeps `actions` (S, A) for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[FloatArray, FloatArray, Array, list[dict[str, Any]]]:
        """Observations (S, O), where an episode ended of the next one; rewards (S,); ends (S,); and infos."""
        step = self._recorder.step(self._actions)
        ended = step.terminated | step.truncated
        observations = step.observations
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if ended.any():
            observations = observations.copy()
            for stream in np.flatnonzero(ended):
                infos[stream] = {
                    "terminal_observation": step.observations[stream],
                    "TimeLimit.truncated": bool(step.truncated[stream] and not step.terminated[stream]),
                }
                observations[stream] = self._reset_stream(int(stream))
        return observations, step.rewards * self._reward_scale, ended, infos

    def _reset_stream(self, stream: int) -> FloatArray:
        return self._recorder.reset(int(stream), draw_episode_seed(self._seed_generators[stream]))

    def close(self) -> None:
        """The batch belongs to whoever made it."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Only `render_mode`, which the library asks for."""
        if attr_name != "render_mode":
            raise AttributeError(f"recorded environments have no attribute '{attr_name}'")
        return [None for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise AttributeError("recorded environments have no attributes to set")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        raise AttributeError("recorded environments have no methods to call")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No stream is wrapped in anything."""
        return [False for _ in self._get_indices(indices)]
