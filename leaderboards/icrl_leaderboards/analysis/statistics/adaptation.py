"""What a run's raw returns say, task by task: along the episodes of an adaptation, (..., E) → (...), and as normalised scores.

Every statistic is over a run's own episodes, so it holds for methods that adapt for 50 episodes and for a learning curve of
2,000 alike. Nothing here draws a random number.
"""

from __future__ import annotations

import numpy as np

from icrl_registry.arrays import BoolArray, Float64Array

#: A task whose oracle is not at least this share of max(|random|, |oracle|) above random cannot scale a score.
MINIMUM_RELATIVE_GAP = 0.01
LAST_SHARE = 0.1
#: How much of the way from random to the oracle counts as having learned the task.
ORACLE_SHARE = 0.8


def normalised_scores(
    returns: Float64Array, random: Float64Array, oracle: Float64Array
) -> tuple[Float64Array, BoolArray]:
    """(R − random) / (oracle − random), never clipped: 0 is a random policy, 1 the source, trained on the task or told it.

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


def last_count(num_episodes: int) -> int:
    """How many episodes the last 10 % are: rounded down, at least one."""
    return max(1, int(num_episodes * LAST_SHARE))


def first_episode(returns: Float64Array) -> Float64Array:
    """Return before any experience of the task, (..., E) → (...)."""
    return returns[..., 0]


def last_episodes(returns: Float64Array) -> Float64Array:
    """Mean return of the last 10 % of the episodes (at least one), (..., E) → (...)."""
    return np.asarray(returns[..., -last_count(returns.shape[-1]) :].mean(axis=-1))


def improvement(returns: Float64Array) -> Float64Array:
    """Last 10 % minus first episode, (..., E) → (...); 0 where there is one episode."""
    return last_episodes(returns) - first_episode(returns)


def area_under_curve(returns: Float64Array) -> Float64Array:
    """Mean return over all episodes, (..., E) → (...): the area under the adaptation curve per episode."""
    return np.asarray(returns.mean(axis=-1))


def regret(returns: Float64Array, oracle: Float64Array) -> Float64Array:
    """Σ over the episodes of (oracle − R), (..., E) and (...) → (...): what learning cost; NaN where there is no oracle."""
    return np.asarray(returns.shape[-1] * oracle - returns.sum(axis=-1))


def episodes_to_oracle(curves: Float64Array, share: float = ORACLE_SHARE) -> Float64Array:
    """The first episode, counted from 1, at which a curve of normalised scores reaches `share`; inf where none does.

    Take the mean over runs and tasks first: (..., E) → (...) of single runs would reward whoever has the noisiest returns.
    """
    reached = curves >= share
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1) + 1.0, np.inf)


def mean_curve(returns: Float64Array) -> Float64Array:
    """The adaptation curve, (N, K, E) → (E,): mean over runs and tasks of each episode."""
    return np.asarray(returns.mean(axis=(0, 1)))


def best_episode(returns: Float64Array) -> tuple[float, int]:
    """The highest point of the adaptation curve of (N, K, E) returns, and its episode, counted from 1.

    The mean is taken before the maximum: a maximum per run or task would reward noise.
    """
    curve = mean_curve(returns)
    index = int(np.argmax(curve))
    return float(curve[index]), index + 1
