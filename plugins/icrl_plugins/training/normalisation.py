"""Scaling of observations and rewards by constants that the training data fix once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icrl_registry.contracts import Array, FloatArray, LearningHistory
from icrl_registry.errors import NumericalError

OBSERVATION_CLIP = 10.0  # in standard deviations
_LEAST_SCALE = 1e-6  # a component that varies less than this in the training data is taken for constant


@dataclass(frozen=True)
class Normalisation:
    """Constants fixed by the training data: they travel in the checkpoint and are never recomputed at test."""

    observation_mean: FloatArray  # (O,)
    observation_scale: FloatArray  # (O,)
    reward_scale: float
    reward_mean: float = 0.0  # subtracted before scaling

    @classmethod
    def fit(
        cls, histories: Sequence[LearningHistory], reward_scale: float | None, standardise_rewards: bool = False
    ) -> Normalisation:
        """Mean and standard deviation per observation component; reward scale 1 / root mean square unless given.

        With `standardise_rewards` rewards get mean 0 and standard deviation 1 instead: a constant part of every reward,
        such as a bonus for staying alive, then doesn't hide what the task gives.

        Raises:
            NumericalError: a history holds a NaN or infinity; the message names its task.
        """
        count, total, squares, reward_total, reward_squares = 0, 0.0, 0.0, 0.0, 0.0
        shift = np.asarray(histories[0].observations[0, 0], dtype=np.float64)  # keeps the difference of squares exact
        for history in histories:
            flat = np.asarray(history.observations).reshape(-1, shift.size).astype(np.float64) - shift  # (S·T, O)
            count += len(flat)
            total = total + flat.sum(axis=0)
            squares = squares + (flat**2).sum(axis=0)
            rewards = np.asarray(history.rewards, dtype=np.float64)
            reward_total += float(rewards.sum())
            reward_squares += float((rewards**2).sum())
            if not (np.isfinite(squares).all() and np.isfinite(reward_squares)):
                raise NumericalError(f"the history of {history.task.label} holds a NaN or infinity", "collect it again")
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        scale = np.where(deviation > _LEAST_SCALE, deviation, 1.0)
        reward_mean = reward_total / count if standardise_rewards else 0.0
        if reward_scale is None:
            spread = np.sqrt(max(0.0, reward_squares / count - reward_mean**2))
            reward_scale = 1.0 / spread if spread > (_LEAST_SCALE if standardise_rewards else 0.0) else 1.0
        return cls(
            (mean + shift).astype(np.float32),
            scale.astype(np.float32),
            float(np.float32(reward_scale)),
            float(np.float32(reward_mean)),
        )

    def observations(self, observations: FloatArray) -> FloatArray:
        """(…, O) standardised and clipped to ±10."""
        scaled = (observations - self.observation_mean) / self.observation_scale
        clipped: FloatArray = np.clip(scaled, -OBSERVATION_CLIP, OBSERVATION_CLIP).astype(np.float32, copy=False)
        return clipped

    def rewards(self, rewards: FloatArray) -> FloatArray:
        """(…) scaled, after the mean was subtracted where rewards are standardised."""
        centred = rewards - np.float32(self.reward_mean)
        return (centred * np.float32(self.reward_scale)).astype(np.float32, copy=False)

    def tensors(self) -> dict[str, Array]:
        """As named arrays of a checkpoint."""
        return {
            "normalisation.observation_mean": self.observation_mean,
            "normalisation.observation_scale": self.observation_scale,
            "normalisation.reward_scale": np.array([self.reward_scale], dtype=np.float32),
            "normalisation.reward_mean": np.array([self.reward_mean], dtype=np.float32),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array]) -> Normalisation:
        """The inverse of `tensors`."""
        return cls(
            np.array(tensors["normalisation.observation_mean"]),
            np.array(tensors["normalisation.observation_scale"]),
            float(tensors["normalisation.reward_scale"][0]),
            float(tensors["normalisation.reward_mean"][0]),
        )
