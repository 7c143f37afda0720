"""Confidence intervals by the bootstrap, for (N, K) matrices of N seeds × K tasks.

Primary: the two-level bootstrap. One trained model is scored on all tasks, so the scores of a row stand or fall together:
seeds (whole rows) are resampled, then tasks (columns). The stratified bootstrap of Agarwal et al. (2021) resamples runs
within each task as if they were independent, and is too narrow here; it is given for comparison.

Both are percentile intervals. With three seeds there are ten distinct resamples of the seeds, so an interval is coarse and
covers less than it says (`leaderboards/README.md` has measured figures). With one seed only the tasks can be resampled,
and the interval says so: it tells nothing of how another seed would do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icrl_leaderboards.statistics import FloatArray, Statistic

LEVEL = 0.95
REPLICATES = 2000
#: Seeds the generators of reported intervals, so that the same data give the same interval everywhere.
INTERVAL_SEED = 20_250_101
_BUFFER = 4_000_000  # numbers per intermediate array


@dataclass(frozen=True)
class Interval:
    """A confidence interval and what was resampled to get it."""

    low: float
    high: float
    resampled: tuple[str, ...]  # ("seeds", "tasks"), ("tasks",) with one seed, ("seeds",) with one task
    level: float = LEVEL

    def as_json(self) -> dict[str, Any]:
        """The interval as JSON values."""
        return {"low": self.low, "high": self.high, "level": self.level, "resampled": list(self.resampled)}


@dataclass(frozen=True)
class Estimate:
    """A number and, where the data allow one, its interval."""

    value: float
    interval: Interval | None = None

    def as_json(self) -> dict[str, Any]:
        """The estimate as JSON values."""
        return {"value": self.value, "interval": self.interval.as_json() if self.interval else None}


# --- Any statistic -----------------------------------------------------------------------------------------------------


def two_level_interval(
    scores: FloatArray,
    statistic: Statistic,
    generator: np.random.Generator,
    replicates: int = REPLICATES,
    level: float = LEVEL,
) -> Interval | None:
    """Interval of `statistic` of an (N, K) matrix: seeds are resampled, then tasks. None for a single number."""
    num_seeds, num_tasks = scores.shape
    resampled = _resampled(num_seeds, num_tasks)
    if not resampled:
        return None
    rows = generator.integers(num_seeds, size=(replicates, num_seeds))  # (R, N)
    columns = generator.integers(num_tasks, size=(replicates, num_tasks))  # (R, K)
    values = statistic(scores[rows[:, :, None], columns[:, None, :]])  # (R, N, K) → (R,)
    return _percentiles(values, resampled, level)


def stratified_interval(
    scores: FloatArray,
    statistic: Statistic,
    generator: np.random.Generator,
    replicates: int = REPLICATES,
    level: float = LEVEL,
) -> Interval | None:
    """Interval of `statistic` of an (N, K) matrix: for each task by itself, its N runs are resampled.

    None for one seed, where every resample would be the data themselves.
    """
    num_seeds, num_tasks = scores.shape
    if num_seeds < 2:
        return None
    rows = generator.integers(num_seeds, size=(replicates, num_seeds, num_tasks))
    values = statistic(np.take_along_axis(scores[None], rows, axis=1))  # (R, N, K) → (R,)
    return _percentiles(values, ("seeds within tasks",), level)


def _resampled(num_seeds: int, num_tasks: int) -> tuple[str, ...]:
    return tuple(name for name, count in (("seeds", num_seeds), ("tasks", num_tasks)) if count > 1)


def _percentiles(values: FloatArray, resampled: tuple[str, ...], level: float) -> Interval:
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high), resampled, level)


# --- Means, in bulk ----------------------------------------------------------------------------------------------------


def mean_estimates(
    matrices: Sequence[FloatArray], seed: int = INTERVAL_SEED, replicates: int = REPLICATES, level: float = LEVEL
) -> list[Estimate]:
    """Means of many (N, K) matrices with their two-level intervals.

    Matrices of one shape share their resamples, drawn from a generator that `seed` and the shape determine: a matrix's
    interval does not depend on its company, and thousands of matrices cost one matrix product.
    """
    estimates: list[Estimate | None] = [None] * len(matrices)
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, matrix in enumerate(matrices):
        by_shape[matrix.shape].append(index)
    for (num_seeds, num_tasks), members in by_shape.items():
        stacked = np.stack([matrices[index] for index in members])  # (G, N, K)
        values = stacked.mean(axis=(1, 2))
        resampled = _resampled(num_seeds, num_tasks)
        bounds = _mean_bounds(stacked, np.random.default_rng([seed, num_seeds, num_tasks]), replicates, level)
        for index, value, (low, high) in zip(members, values, bounds, strict=True):
            interval = Interval(float(low), float(high), resampled, level) if resampled else None
            estimates[index] = Estimate(float(value), interval)
    return [estimate for estimate in estimates if estimate is not None]


def mean_band(values: FloatArray, seed: int = INTERVAL_SEED, level: float = LEVEL) -> tuple[FloatArray, FloatArray]:
    """Pointwise two-level interval of the mean curve of (N, K, E) values: low (E,) and high (E,)."""
    generator = np.random.default_rng([seed, *values.shape[:2]])
    bounds = _mean_bounds(np.moveaxis(values, -1, 0), generator, REPLICATES, level)
    return bounds[:, 0], bounds[:, 1]


def _mean_bounds(stacked: FloatArray, generator: np.random.Generator, replicates: int, level: float) -> FloatArray:
    """Bounds (G, 2) of the means of (G, N, K).

    The mean of a resample is a weighted mean in which row n weighs as often as it was drawn, and column k likewise. einsum
    without BLAS adds in one order whatever G is, so a bound is the same in every company to the last bit.
    """
    groups, num_seeds, num_tasks = stacked.shape
    seed_weights = generator.multinomial(num_seeds, [1 / num_seeds] * num_seeds, size=replicates) / num_seeds  # (R, N)
    task_weights = generator.multinomial(num_tasks, [1 / num_tasks] * num_tasks, size=replicates) / num_tasks  # (R, K)
    flat = np.ascontiguousarray(stacked.reshape(groups, -1))  # (G, N·K)
    means = np.empty((groups, replicates))
    chunk = max(1, _BUFFER // flat.shape[1])
    for start in range(0, replicates, chunk):
        part = slice(start, start + chunk)
        weights = seed_weights[part, :, None] * task_weights[part, None, :]
        means[:, part] = np.einsum("gm,rm->gr", flat, weights.reshape(len(weights), -1))
    return _sorted_quantiles(np.sort(means, axis=1), level)


def _sorted_quantiles(values: FloatArray, level: float) -> FloatArray:
    """Ends of the central `level` of each sorted row, (G, R) → (G, 2): `np.quantile`'s linear rule in a third of its time."""
    tail = (1 - level) / 2
    position = np.array([tail, 1 - tail]) * (values.shape[1] - 1)
    below = np.floor(position).astype(np.intp)
    above = np.minimum(below + 1, values.shape[1] - 1)
    return np.asarray(values[:, below] + (values[:, above] - values[:, below]) * (position - below))
