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

    @classmethod
    def fit(cls, histories: Sequence[LearningHistory], reward_scale: float | None) -> Normalisation:
        """Mean and standard deviation per observation component; reward scale 1 / root mean square unless given."""
        count, total, squares, reward_squares = 0, 0.0, 0.0, 0.0
        shift = np.asarray(histories[0].observations[0, 0], dtype=np.float64)  # keeps the difference of squares exact
        for history in histories:
            flat = np.asarray(history.observations).reshape(-1, shift.size).astype(np.float64) - shift  # (S·T, O)
            count += len(flat)
            total = total + flat.sum(axis=0)
            squares = squares + (flat**2).sum(axis=0)
            reward_squares += float((np.asarray(history.rewards, dtype=np.float64) ** 2).sum())
            if not (np.isfinite(squares).all() and np.isfinite(reward_squares)):
                raise NumericalError(f"the history of {history.task.label} holds a NaN or infinity", "collect it again")
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        scale = np.where(deviation > _LEAST_SCALE, deviation, 1.0)
        if reward_scale is None:
            reward_scale = 1.0 / np.sqrt(reward_squares / count) if reward_squares > 0 else 1.0
        return cls((mean + shift).astype(np.float32), scale.astype(np.float32), float(np.float32(reward_scale)))

    def observations(self, observations: FloatArray) -> FloatArray:
        """(…, O) standardised and clipped to ±10."""
        scaled = (observations - self.observation_mean) / self.observation_scale
        clipped: FloatArray = np.clip(scaled, -OBSERVATION_CLIP, OBSERVATION_CLIP).astype(np.float32, copy=False)
        return clipped

    def rewards(self, rewards: FloatArray) -> FloatArray:
        """(…) scaled."""
        return (rewards * np.float32(self.reward_scale)).astype(np.float32, copy=False)

    def tensors(self) -> dict[str, Array]:
        """As named arrays of a checkpoint."""
        return {
            "normalisation.observation_mean": self.observation_mean,
            "normalisation.observation_scale": self.observation_scale,
            "normalisation.reward_scale": np.array([self.reward_scale], dtype=np.float32),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array]) -> Normalisation:
        """The inverse of `tensors`."""
        return cls(
            np.array(tensors["normalisation.observation_mean"]),
            np.array(tensors["normalisation.observation_scale"]),
            float(tensors["normalisation.reward_scale"][0]),
        )
