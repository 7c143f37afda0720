"""Two methods side by side: paired differences on equal seeds and tasks, the probability of improvement, profiles with bands.

Matrices are (N, K) as everywhere in this room. A difference is paired, seed by seed and task by task, and its interval is
that of the (N, K) differences. The probability of improvement compares every run with every run (Agarwal et al. 2021,
section 4.3), so each method's seeds are resampled by themselves, and the tasks, which both share, together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icrl_leaderboards.analysis.statistics.aggregates import performance_profile, probability_of_improvement
from icrl_leaderboards.analysis.statistics.bootstrap import (
    INTERVAL_SEED,
    REPLICATES,
    mean_band,
    mean_estimates,
    resampled_axes,
    stratified_mean_band,
    two_level_weights,
)
from icrl_leaderboards.analysis.statistics.intervals import (
    LEVEL,
    STRATIFIED,
    Estimate,
    Interval,
    mean_variance,
    t_scaled_interval,
)
from icrl_registry.arrays import Float64Array


@dataclass(frozen=True, eq=False)
class Profile:
    """The share of scores above each threshold, with pointwise bands, (X,) each; None where nothing can be resampled."""

    thresholds: Float64Array
    share: Float64Array
    band: tuple[Float64Array, Float64Array] | None  # two-level
    stratified: tuple[Float64Array, Float64Array] | None  # as rliable draws it


def profile(scores: Float64Array, thresholds: Float64Array, seed: int = INTERVAL_SEED) -> Profile:
    """The performance profile of (N, K) scores at (X,) thresholds, with pointwise 95 % bands."""
    above = (scores[..., None] > thresholds).astype(np.float64)  # (N, K, X)
    band = mean_band(above, seed) if resampled_axes(*scores.shape) else None
    stratified = stratified_mean_band(above, seed) if len(scores) > 1 else None
    clipped = [
        None if each is None else (np.clip(each[0], 0, 1), np.clip(each[1], 0, 1)) for each in (band, stratified)
    ]
    return Profile(thresholds, performance_profile(scores, thresholds), *clipped)


def paired_difference(ours: Float64Array, theirs: Float64Array, replicates: int = REPLICATES) -> Estimate:
    """Mean of ours − theirs, both (N, K) with equal seeds in the rows and equal tasks in the columns."""
    return mean_estimates([ours - theirs], replicates=replicates, stratified=True)[0]


def pooled_difference(
    differences: Sequence[Float64Array], replicates: int = REPLICATES, level: float = LEVEL
) -> Estimate:
    """The mean over environments of the mean paired differences, each environment an (N, K) matrix of its own.

    Every environment has seeds and tasks of its own, which are resampled by themselves; the environments are what they are.
    """
    if len(differences) == 1:
        return mean_estimates(differences, replicates=replicates, level=level, stratified=True)[0]
    count = len(differences)
    means = np.zeros(replicates)
    parts = []
    for index, matrix in enumerate(differences):
        generator = np.random.default_rng([INTERVAL_SEED, index, *matrix.shape])
        seeds, tasks = two_level_weights(matrix.shape, generator, replicates)
        means += np.einsum("rn,nk,rk->r", seeds, matrix, tasks) / count
        variance, freedom = mean_variance(matrix[None])
        parts.append((float(variance[0]) / count**2, float(freedom[0])))
    value = float(np.mean([matrix.mean() for matrix in differences]))
    resampled = resampled_axes(*np.max([matrix.shape for matrix in differences], axis=0))
    return Estimate(value, t_scaled_interval(value, means, parts, resampled, level))


def probability_estimate(
    ours: Float64Array, theirs: Float64Array, replicates: int = REPLICATES, level: float = LEVEL
) -> Estimate:
    """The probability that a run of ours, (N, K), beats a run of theirs, (M, K), on one of the K tasks."""
    two_level = pooled_probability([wins_of(ours, theirs)], replicates, level)
    generator = np.random.default_rng([INTERVAL_SEED, *ours.shape, *theirs.shape])
    return Estimate(
        two_level.value, two_level.interval, stratified_probability(ours, theirs, generator, replicates, level)
    )


def wins_of(ours: Float64Array, theirs: Float64Array) -> Float64Array:
    """1 where a run of ours beats one of theirs, ½ where they tie, 0 otherwise: (N, K) and (M, K) → (N, M, K)."""
    return np.asarray(0.5 * np.sign(ours[:, None, :] - theirs[None, :, :]) + 0.5)


def pooled_probability(wins: Sequence[Float64Array], replicates: int = REPLICATES, level: float = LEVEL) -> Estimate:
    """The mean over environments of the probability of improvement; `wins` are (N, M, K) of 1, ½ and 0, one each.

    A component of variance for each of the two sets of seeds and for the tasks: the projections of a three-sample
    U-statistic (Hoeffding 1948). There is no interval where every comparison goes the same way, since resamples of ten wins
    are ten wins, and [1, 1] would claim a certainty that they do not give.
    """
    count = len(wins)
    means = np.zeros(replicates)
    parts = []
    for index, won in enumerate(wins):
        generator = np.random.default_rng([INTERVAL_SEED, index, *won.shape])
        shares = [generator.multinomial(size, [1 / size] * size, size=replicates) / size for size in won.shape]
        means += np.einsum("rn,rm,rk,nmk->r", *shares, won, optimize=True) / count
        for axis, size in enumerate(won.shape):
            if size > 1:
                projection = won.mean(axis=tuple({0, 1, 2} - {axis}))
                parts.append((float(projection.var(ddof=1)) / size / count**2, size - 1.0))
    value = float(np.mean([won.mean() for won in wins]))
    if sum(part for part, _ in parts) == 0:
        return Estimate(value)
    seeds = max(max(won.shape[:2]) for won in wins)
    tasks = max(won.shape[2] for won in wins)
    interval = t_scaled_interval(value, means, parts, resampled_axes(seeds, tasks), level, within=(0.0, 1.0))
    return Estimate(value, interval)


def stratified_probability(
    ours: Float64Array,
    theirs: Float64Array,
    generator: np.random.Generator,
    replicates: int = REPLICATES,
    level: float = LEVEL,
) -> Interval | None:
    """rliable's interval of the probability of improvement: the runs of each task and method are resampled by themselves."""
    if len(ours) < 2 and len(theirs) < 2:
        return None
    values = np.empty(replicates)
    for replicate in range(replicates):
        drawn = [
            np.take_along_axis(scores, generator.integers(len(scores), size=scores.shape), axis=0)
            for scores in (ours, theirs)
        ]
        values[replicate] = probability_of_improvement(*drawn)
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high), ("seeds within tasks",), level, STRATIFIED)
