"""Confidence intervals by the bootstrap, for (N, K) matrices of N seeds × K tasks.

Primary: the two-level bootstrap. One trained model is scored on all tasks, so the scores of a row stand or fall together:
seeds (whole rows) are resampled, then tasks (columns), and the percentiles are stretched to Student's width (`intervals`),
because few seeds vary less among themselves than new ones would. The stratified bootstrap of Agarwal et al. (2021) resamples
runs within each task as if they were independent, and is too narrow here; it is given for comparison, as they define it.

With one seed only the tasks can be resampled, and the interval says so: it tells nothing of how another seed would do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from icrl_leaderboards.analysis.statistics.adaptation import episodes_to_oracle, mean_curve
from icrl_leaderboards.analysis.statistics.aggregates import Statistic
from icrl_leaderboards.analysis.statistics.intervals import (
    LEVEL,
    PERCENTILE,
    STRATIFIED,
    T_SCALED,
    Estimate,
    Interval,
    width_factor,
)
from icrl_registry.arrays import Float64Array

IndexArray = NDArray[np.intp]

REPLICATES = 2000
#: Seeds the generators of reported intervals, so that the same data give the same interval everywhere.
INTERVAL_SEED = 20_250_101
_BUFFER = 4_000_000  # numbers per intermediate array


# --- Any statistic -----------------------------------------------------------------------------------------------------


def two_level_draws(shape: Sequence[int], generator: np.random.Generator, replicates: int) -> IndexArray:
    """Positions in a flat (N, K) matrix of what two-level resamples draw, (R, N, K)."""
    num_seeds, num_tasks = shape
    rows = generator.integers(num_seeds, size=(replicates, num_seeds))
    columns = generator.integers(num_tasks, size=(replicates, num_tasks))
    return np.asarray(rows[:, :, None] * num_tasks + columns[:, None, :])


def stratified_draws(shape: Sequence[int], generator: np.random.Generator, replicates: int) -> IndexArray:
    """Positions in a flat (N, K) matrix of what stratified resamples draw, (R, N, K)."""
    num_seeds, num_tasks = shape
    rows = generator.integers(num_seeds, size=(replicates, num_seeds, num_tasks))
    return np.asarray(rows * num_tasks + np.arange(num_tasks))


def _two_level(
    scores: Float64Array, statistic: Statistic, values: Float64Array, level: float, t_scaled: bool
) -> Interval | None:
    """The interval from the statistic of the resamples, (R,)."""
    resampled = resampled_axes(*scores.shape)
    if not resampled:
        return None
    bounds = _percentiles(values, level)
    if not t_scaled:
        return Interval(float(bounds[0]), float(bounds[1]), resampled, level, PERCENTILE)
    value = float(statistic(scores))
    low, high = value + width_factor(scores[None], level) * (bounds - value)
    return Interval(float(low), float(high), resampled, level, T_SCALED)


def _stratified(values: Float64Array, level: float) -> Interval:
    low, high = _percentiles(values, level)
    return Interval(float(low), float(high), ("seeds within tasks",), level, STRATIFIED)


def resampled_axes(num_seeds: int, num_tasks: int) -> tuple[str, ...]:
    """What a two-level bootstrap of an (N, K) matrix can resample."""
    return tuple(name for name, count in (("seeds", num_seeds), ("tasks", num_tasks)) if count > 1)


def _percentiles(values: Float64Array, level: float) -> Float64Array:
    tail = (1 - level) / 2
    return np.quantile(values, [tail, 1 - tail], axis=0)


def statistic_estimates(
    matrices: Sequence[Float64Array],
    statistic: Statistic,
    seed: int = INTERVAL_SEED,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    stratified: bool = False,
) -> list[Estimate]:
    """`statistic` of each (N, K) matrix with its two-level interval and, if asked for, the stratified one.

    As in `mean_estimates`, seed and shape alone determine the resamples.
    """
    estimates = []
    for matrix in matrices:
        draws, draws_within = _draws(matrix.shape, seed, replicates)
        interval = _two_level(matrix, statistic, statistic(matrix.ravel()[draws]), level, t_scaled=True)
        beside = None
        if stratified and len(matrix) > 1:
            beside = _stratified(statistic(matrix.ravel()[draws_within]), level)
        estimates.append(Estimate(float(statistic(matrix)), interval, beside))
    return estimates


@lru_cache(maxsize=8)
def _draws(shape: tuple[int, ...], seed: int, replicates: int) -> tuple[IndexArray, IndexArray]:
    """Two-level and stratified draws for matrices of one shape."""
    two_level, within = (np.random.default_rng([seed, *shape, *kind]) for kind in ((), (1,)))
    return two_level_draws(shape, two_level, replicates), stratified_draws(shape, within, replicates)


def crossing_estimate(
    curves: Float64Array,
    share: float,
    seed: int = INTERVAL_SEED,
    replicates: int = REPLICATES,
    level: float = LEVEL,
) -> Estimate | None:
    """The first episode at which the mean of normalised (N, K, E) curves reaches `share`; inf where it never does.

    The ends are order statistics of the two-level resamples, since "never" cannot be interpolated. None without tasks.
    """
    num_seeds, num_tasks, num_episodes = curves.shape
    if num_tasks == 0:
        return None
    value = float(episodes_to_oracle(mean_curve(curves), share))
    resampled = resampled_axes(num_seeds, num_tasks)
    if not resampled:
        return Estimate(value)
    weights = _curve_weights((num_seeds, num_tasks), seed, replicates)  # (R, N·K)
    resampled_curves = np.einsum("rm,me->re", weights, curves.reshape(-1, num_episodes))
    crossings = episodes_to_oracle(resampled_curves, share)  # (R,)
    tail = (1 - level) / 2
    low, high = np.quantile(crossings, [tail, 1 - tail], method="inverted_cdf")
    return Estimate(value, Interval(float(low), float(high), resampled, level, PERCENTILE))


@lru_cache(maxsize=8)
def _curve_weights(shape: tuple[int, int], seed: int, replicates: int) -> Float64Array:
    """How much each seed's curve on each task weighs in two-level resamples, (R, N·K)."""
    seeds, tasks = two_level_weights(shape, np.random.default_rng([seed, *shape]), replicates)
    return np.asarray((seeds[:, :, None] * tasks[:, None, :]).reshape(replicates, -1))


# --- Means, in bulk ----------------------------------------------------------------------------------------------------


def mean_estimates(
    matrices: Sequence[Float64Array],
    seed: int = INTERVAL_SEED,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    t_scaled: bool = True,
    stratified: bool = False,
) -> list[Estimate]:
    """Means of many (N, K) matrices with their two-level intervals and, if asked for, the stratified ones.

    Matrices of one shape share their resamples, drawn from a generator that `seed` and the shape determine: a matrix's
    interval does not depend on its company, and thousands of matrices cost one matrix product.
    """
    estimates: list[Estimate] = [Estimate(np.nan)] * len(matrices)
    for shape, members in by_shape(matrices).items():
        stacked = np.stack([matrices[index] for index in members])  # (G, N, K)
        values = stacked.mean(axis=(1, 2))
        resampled = resampled_axes(*shape)
        bounds = _mean_bounds(stacked, np.random.default_rng([seed, *shape]), replicates, level)
        if t_scaled and resampled:
            bounds = values[:, None] + width_factor(stacked, level)[:, None] * (bounds - values[:, None])
        method = T_SCALED if t_scaled else PERCENTILE
        within = _stratified_bounds(stacked, seed, replicates, level) if stratified and shape[0] > 1 else None
        for position, index in enumerate(members):
            low, high = bounds[position]
            interval = Interval(float(low), float(high), resampled, level, method) if resampled else None
            beside = None
            if within is not None:
                low, high = within[position]
                beside = Interval(float(low), float(high), ("seeds within tasks",), level, STRATIFIED)
            estimates[index] = Estimate(float(values[position]), interval, beside)
    return estimates


def by_shape(matrices: Sequence[Float64Array]) -> dict[tuple[int, ...], list[int]]:
    """The positions of the matrices of each shape."""
    members: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, matrix in enumerate(matrices):
        members[matrix.shape].append(index)
    return members


def mean_band(
    values: Float64Array, seed: int = INTERVAL_SEED, level: float = LEVEL
) -> tuple[Float64Array, Float64Array]:
    """Pointwise two-level interval of the mean curve of (N, K, E) values: low (E,) and high (E,)."""
    stacked = np.moveaxis(values, -1, 0)
    means = stacked.mean(axis=(1, 2))[:, None]
    bounds = _mean_bounds(stacked, np.random.default_rng([seed, *values.shape[:2]]), REPLICATES, level)
    bounds = means + width_factor(stacked, level)[:, None] * (bounds - means)
    return bounds[:, 0], bounds[:, 1]


def stratified_mean_band(
    values: Float64Array, seed: int = INTERVAL_SEED, level: float = LEVEL
) -> tuple[Float64Array, Float64Array]:
    """As `mean_band`, with the runs of each task resampled by themselves; (N, K, X) → low (X,) and high (X,)."""
    bounds = _stratified_bounds(np.moveaxis(values, -1, 0), seed, REPLICATES, level)
    return bounds[:, 0], bounds[:, 1]


def two_level_weights(
    shape: Sequence[int], generator: np.random.Generator, replicates: int
) -> tuple[Float64Array, Float64Array]:
    """For an (N, K) shape: how often each seed and each task was drawn, as shares: (R, N) and (R, K)."""
    num_seeds, num_tasks = shape
    seeds = generator.multinomial(num_seeds, [1 / num_seeds] * num_seeds, size=replicates) / num_seeds
    tasks = generator.multinomial(num_tasks, [1 / num_tasks] * num_tasks, size=replicates) / num_tasks
    return seeds, tasks


def _mean_bounds(stacked: Float64Array, generator: np.random.Generator, replicates: int, level: float) -> Float64Array:
    """Percentile bounds (G, 2) of the means of (G, N, K).

    The mean of a resample is a weighted mean in which row n weighs as often as it was drawn, and column k likewise.
    """
    seeds, tasks = two_level_weights(stacked.shape[1:], generator, replicates)
    return _weighted_bounds(stacked, seeds[:, :, None] * tasks[:, None, :], level)


def _stratified_bounds(stacked: Float64Array, seed: int, replicates: int, level: float) -> Float64Array:
    """Percentile bounds (G, 2) of the means of (G, N, K) when the runs of each task are resampled by themselves."""
    _, num_seeds, num_tasks = stacked.shape
    generator = np.random.default_rng([seed, num_seeds, num_tasks, 1])
    drawn = generator.multinomial(num_seeds, [1 / num_seeds] * num_seeds, size=(replicates, num_tasks))  # (R, K, N)
    return _weighted_bounds(stacked, np.swapaxes(drawn, 1, 2) / (num_seeds * num_tasks), level)


def _weighted_bounds(stacked: Float64Array, weights: Float64Array, level: float) -> Float64Array:
    """Percentiles over R of the weighted means of (G, N, K) under (R, N, K) weights, (G, 2).

    einsum without BLAS adds in one order whatever G is, so a bound is the same in every company to the last bit.
    """
    groups, replicates = len(stacked), len(weights)
    flat = np.ascontiguousarray(stacked.reshape(groups, -1))  # (G, N·K)
    flat_weights = np.ascontiguousarray(weights.reshape(replicates, -1))  # (R, N·K)
    bounds = np.empty((groups, 2))
    chunk = max(1, _BUFFER // replicates)
    for start in range(0, groups, chunk):
        part = slice(start, start + chunk)
        means = np.einsum("gm,rm->gr", flat[part], flat_weights)
        bounds[part] = sorted_quantiles(np.sort(means, axis=1), level)
    return bounds


def sorted_quantiles(values: Float64Array, level: float) -> Float64Array:
    """Ends of the central `level` of each sorted row, (G, R) → (G, 2): `np.quantile`'s linear rule in a third of its time."""
    tail = (1 - level) / 2
    position = np.array([tail, 1 - tail]) * (values.shape[1] - 1)
    below = np.floor(position).astype(np.intp)
    above = np.minimum(below + 1, values.shape[1] - 1)
    return np.asarray(values[:, below] + (values[:, above] - values[:, below]) * (position - below))
