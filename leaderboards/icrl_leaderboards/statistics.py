"""Statistics of adaptation: what a run's raw returns say, task by task and in aggregate.

Matrices are (N, K): N runs (seeds) × K tasks, the orientation of Agarwal et al. (2021), "Deep Reinforcement Learning at the
Edge of the Statistical Precipice", whose aggregates these are. Leading axes are batch axes, so a bootstrap passes all its
replicates, (R, N, K), at once. Nothing here draws a random number; intervals are in `bootstrap`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Statistic = Callable[[FloatArray], FloatArray]

#: A task whose oracle is not at least this share of max(|random|, |oracle|) above random cannot scale a score.
MINIMUM_RELATIVE_GAP = 0.01
LAST_SHARE = 0.1


def normalised_scores(returns: FloatArray, random: FloatArray, oracle: FloatArray) -> tuple[FloatArray, BoolArray]:
    """(R − random) / (oracle − random), never clipped: 0 is a random policy, 1 the source trained on the task itself.

    Args:
        returns: (..., K).
        random: broadcastable to `returns`.
        oracle: broadcastable to `returns`; NaN where there is none.

    Returns:
        scores (..., K), NaN where flagged; and flags (..., K): the oracle is missing, or not clearly better than random.
    """
    returns, random, oracle = np.broadcast_arrays(returns, random, oracle)
    gap = oracle - random
    flagged = ~(gap > MINIMUM_RELATIVE_GAP * np.maximum(np.abs(random), np.abs(oracle)))  # NaN compares false: flagged
    scores = np.full(returns.shape, np.nan)
    np.divide(returns - random, gap, out=scores, where=~flagged)
    return scores, flagged


# --- Along the episodes: (..., E) → (...) ------------------------------------------------------------------------------


def last_count(num_episodes: int) -> int:
    """How many episodes the last 10 % are: rounded down, at least one."""
    return max(1, int(num_episodes * LAST_SHARE))


def first_episode(returns: FloatArray) -> FloatArray:
    """Return before any experience of the task, (..., E) → (...)."""
    return returns[..., 0]


def last_episodes(returns: FloatArray) -> FloatArray:
    """Mean return of the last 10 % of the episodes (at least one), (..., E) → (...)."""
    return np.asarray(returns[..., -last_count(returns.shape[-1]) :].mean(axis=-1))


def improvement(returns: FloatArray) -> FloatArray:
    """Last 10 % minus first episode, (..., E) → (...); 0 where there is one episode."""
    return last_episodes(returns) - first_episode(returns)


def area_under_curve(returns: FloatArray) -> FloatArray:
    """Mean return over all episodes, (..., E) → (...): the area under the adaptation curve per episode."""
    return np.asarray(returns.mean(axis=-1))


def mean_curve(returns: FloatArray) -> FloatArray:
    """The adaptation curve, (N, K, E) → (E,): mean over runs and tasks of each episode."""
    return np.asarray(returns.mean(axis=(0, 1)))


def best_episode(returns: FloatArray) -> tuple[float, int]:
    """The highest point of the adaptation curve of (N, K, E) returns, and its episode, counted from 1.

    The mean is taken before the maximum: a maximum per run or task would reward noise.
    """
    curve = mean_curve(returns)
    index = int(np.argmax(curve))
    return float(curve[index]), index + 1


# --- Aggregates of a score matrix: (..., N, K) → (...) -----------------------------------------------------------------


def mean(scores: FloatArray) -> FloatArray:
    """Mean over runs and tasks."""
    return np.asarray(scores.mean(axis=(-2, -1)))


def median(scores: FloatArray) -> FloatArray:
    """Median over tasks of the mean over runs."""
    return np.asarray(np.median(scores.mean(axis=-2), axis=-1))


def interquartile_mean(scores: FloatArray) -> FloatArray:
    """Mean of the middle half of all N·K scores: ⌊N·K / 4⌋ are dropped from each end (`scipy.stats.trim_mean`, 0.25)."""
    pooled = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    dropped = pooled.shape[-1] // 4
    return np.asarray(pooled[..., dropped : pooled.shape[-1] - dropped].mean(axis=-1))


def optimality_gap(scores: FloatArray) -> FloatArray:
    """1 − mean of min(score, 1): how far below the oracle, where being above it on one task makes up for nothing."""
    return np.asarray(1.0 - np.minimum(scores, 1.0).mean(axis=(-2, -1)))


#: The aggregates of the normalised score that a report shows, by name.
AGGREGATES: dict[str, Statistic] = {
    "mean": mean,
    "median": median,
    "iqm": interquartile_mean,
    "optimality_gap": optimality_gap,
}
