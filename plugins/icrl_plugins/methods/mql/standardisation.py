"""Inputs on one scale, by constants that the random episodes at the beginning of meta-training fix.

Published Meta-Q-Learning feeds raw numbers. Where rewards of two tasks differ by a tenth of their size, a GRU that sees
them raw hardly tells the tasks apart for a long time; and large velocities saturate its gates. So contexts can be given
standardised rewards. What the critics learn stays a sum of the true rewards, up to one factor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icrl_plugins.methods.mql.episodes import Episode
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.contracts import Array, EnvironmentSpec, FloatArray, LearningHistory, Task

_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Standardisation:
    """Observations standardised and clipped; rewards scaled to mean square 1 (what is learned), then standardised."""

    normalisation: Normalisation
    reward_mean: float  # of the scaled rewards
    reward_spread: float  # their standard deviation

    @classmethod
    def fit(cls, episodes: Sequence[Episode], spec: EnvironmentSpec) -> Standardisation:
        """From episodes of raw numbers."""
        normalisation = Normalisation.fit([as_history(episodes, spec)], None)
        rewards = normalisation.rewards(np.concatenate([each.rows[1:-1, spec.action_size] for each in episodes]))
        spread = float(rewards.std())
        return cls(normalisation, float(rewards.mean()), spread if spread > _LEAST_SPREAD else 1.0)

    def observations(self, observations: FloatArray) -> FloatArray:
        """(…, O) as networks and contexts see them."""
        return self.normalisation.observations(observations)

    def reward(self, reward: Array | float) -> Array | float:
        """Rewards as contexts see them."""
        return (self.normalisation.reward_scale * reward - self.reward_mean) / self.reward_spread

    def episode(self, episode: Episode, action_size: int) -> Episode:
        """An episode of raw numbers as `RunningEpisodes` would have kept it."""
        rows = episode.rows.copy()
        rows[1:-1, action_size] = self.reward(rows[1:-1, action_size])
        rows[:, action_size + 1 :] = self.observations(rows[:, action_size + 1 :])
        return Episode(rows, episode.terminated)

    def tensors(self) -> dict[str, Array]:
        """As named arrays of a checkpoint."""
        rewards = np.array([self.reward_mean, self.reward_spread])
        return {**self.normalisation.tensors(), "standardisation.rewards": rewards}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array]) -> Standardisation:
        """The inverse of `tensors`."""
        mean, spread = map(float, tensors["standardisation.rewards"])
        return cls(Normalisation.from_tensors(tensors), mean, spread)


def as_history(episodes: Sequence[Episode], spec: EnvironmentSpec) -> LearningHistory:
    """Episodes of raw numbers one after the other, as one stream of no particular task."""
    rows = np.concatenate([episode.rows[1:-1] for episode in episodes])[None]  # (1, T, F)
    following = np.concatenate([episode.rows[2:] for episode in episodes])[None, :, spec.action_size + 1 :]
    last = np.zeros(rows.shape[:2], dtype=np.bool_)
    last[0, np.cumsum([episode.length for episode in episodes]) - 1] = True
    ended = np.concatenate([np.full(episode.length, episode.terminated) for episode in episodes])[None]
    return LearningHistory(
        task=Task(()),
        observations=rows[..., spec.action_size + 1 :],
        actions=rows[..., : spec.action_size],
        rewards=rows[..., spec.action_size],
        next_observations=following,
        terminated=last & ended,
        truncated=last & ~ended,
    )
