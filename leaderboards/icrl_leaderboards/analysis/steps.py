"""What runs earn step by step within their first episodes: most of what a sequence model learns of a task, it learns there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icrl_leaderboards.runs.record import RunRecord
from icrl_registry.arrays import Float64Array


def step_rewards(records: Sequence[RunRecord]) -> Float64Array | None:
    """Mean reward at each step of the first episodes over the records (seeds of one row) and their tasks, (E, H).

    None where no record has it. Records that lack it, or have it of another shape than the first one, count for nothing.
    """
    known = [np.array(record.step_rewards) for record in records if record.step_rewards is not None]
    alike = [each for each in known if each.shape == known[0].shape]
    return np.mean(alike, axis=0) if alike else None


def smoothed(rewards: Float64Array, width: int) -> Float64Array:
    """Means over the last `width` steps, or as many as there are since the episode began: (E, H) → (E, H)."""
    sums = np.cumsum(rewards, axis=1)
    sums[:, width:] -= sums[:, :-width].copy()
    counts = np.minimum(np.arange(1, rewards.shape[1] + 1), width)
    means: Float64Array = sums / counts
    return means
