"""Aggregates of score matrices: one number, or one profile, for a method.

Matrices are (N, K): N runs (seeds) × K tasks, the orientation of Agarwal et al. (2021), "Deep Reinforcement Learning at the
Edge of the Statistical Precipice", whose aggregates these are. Leading axes are batch axes, so a bootstrap passes all its
replicates, (R, N, K), at once. Nothing here draws a random number; intervals are in `bootstrap`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from icrl_registry.arrays import Float64Array

#: A score matrix, (..., N, K), to one number each, (...).
Statistic = Callable[[Float64Array], Float64Array]


def mean(scores: Float64Array) -> Float64Array:
    """Mean over runs and tasks."""
    return np.asarray(scores.mean(axis=(-2, -1)))


def median(scores: Float64Array) -> Float64Array:
    """Median over tasks of the mean over runs."""
    ordered = np.sort(scores.mean(axis=-2), axis=-1)  # several times as fast as np.median's selection on short rows
    middle = (ordered.shape[-1] - 1) // 2, ordered.shape[-1] // 2
    return np.asarray((ordered[..., middle[0]] + ordered[..., middle[1]]) / 2)


def interquartile_mean(scores: Float64Array) -> Float64Array:
    """Mean of the middle half of all N·K scores: ⌊N·K / 4⌋ are dropped from each end (`scipy.stats.trim_mean`, 0.25)."""
    pooled = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    dropped = pooled.shape[-1] // 4
    return np.asarray(pooled[..., dropped : pooled.shape[-1] - dropped].mean(axis=-1))


def optimality_gap(scores: Float64Array) -> Float64Array:
    """1 − mean of min(score, 1): how far below the oracle, where being above it on one task makes up for nothing."""
    return np.asarray(1.0 - np.minimum(scores, 1.0).mean(axis=(-2, -1)))


#: The aggregates of the normalised score that a report shows, by name.
AGGREGATES: dict[str, Statistic] = {
    "mean": mean,
    "median": median,
    "iqm": interquartile_mean,
    "optimality_gap": optimality_gap,
}


def performance_profile(scores: Float64Array, thresholds: Float64Array) -> Float64Array:
    """The share of scores above each threshold, (..., N, K) and (X,) → (..., X): Agarwal et al. (2021), equation 3."""
    above = scores[..., None] > thresholds  # (..., N, K, X)
    return np.asarray(above.mean(axis=(-3, -2)))


def probability_of_improvement(ours: Float64Array, theirs: Float64Array) -> Float64Array:
    """The chance that a run of ours beats a run of theirs on the same task, (..., N, K) and (..., M, K) → (...).

    The mean over tasks of the Mann–Whitney U statistic over N·M; a tie counts half.
    """
    difference = ours[..., :, None, :] - theirs[..., None, :, :]  # (..., N, M, K)
    return np.asarray((0.5 * np.sign(difference) + 0.5).mean(axis=(-3, -2, -1)))
