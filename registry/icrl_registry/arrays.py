"""The arrays that pass between harness and plugins, by their element type, and the learning histories that consist of them.

Shapes are in the comments beside them. Below `contracts.py`, from where plugins import them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from icrl_registry.contracts import Task

Array = NDArray[Any]
FloatArray = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class LearningHistory:
    """All transitions of one source run on one task, in order, as S parallel streams of T steps each.

    A stream is what one of the source's parallel environments saw. `next_observations` are the true successors (at the end
    of an episode the terminal observation, not the next reset), `actions` are those executed, in [-1, 1] or one-hot.
    """

    task: Task
    observations: FloatArray  # (S, T, O)
    actions: FloatArray  # (S, T, A)
    rewards: FloatArray  # (S, T)
    next_observations: FloatArray  # (S, T, O)
    terminated: BoolArray  # (S, T), the MDP ended here
    truncated: BoolArray  # (S, T), the time limit cut here
    policy_means: FloatArray | None = (
        None  # (S, T, A), the source policy's mean action (of discrete ones: the likeliest)
    )
    expert_actions: FloatArray | None = (
        None  # (S, T, A), what an expert of the task would do; recorded data may bring it
    )

    @property
    def num_streams(self) -> int:
        return int(self.rewards.shape[0])

    @property
    def num_steps(self) -> int:
        """Environment steps over all streams."""
        return int(self.rewards.size)

    def episode_bounds(self, stream: int) -> list[tuple[int, int]]:
        """Start and end (exclusive) of every complete episode of a stream, in order; a last incomplete one is left out."""
        ends = np.flatnonzero(self.terminated[stream] | self.truncated[stream]) + 1
        starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
        return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]

    def episode_returns(self, stream: int) -> Array:
        """Undiscounted return of every complete episode of a stream, (E,) float64."""
        rewards = np.asarray(self.rewards[stream], dtype=np.float64)
        return np.array([rewards[start:end].sum() for start, end in self.episode_bounds(stream)])
