"""A number with its confidence interval, and the width that an interval needs where seeds and tasks are few.

The percentile interval of a bootstrap over N seeds and K tasks is too narrow when N or K is small: a resample of three seeds
varies (N − 1) / N as much as three new seeds would, and the normal quantile stands where Student's belongs. `width_factor`
gives the factor by which the interval of a mean is stretched about its estimate so that its width is that of the crossed
random-effects analysis of variance (Satterthwaite 1946), x[n, k] = mean + seed[n] + task[k] + rest[n, k]. The bootstrap
still gives the shape. `docs/statistics.md` has measured coverage with and without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from icrl_registry.arrays import Float64Array

LEVEL = 0.95
T_SCALED = "two-level bootstrap, t-scaled"
PERCENTILE = "two-level bootstrap, percentile"
STRATIFIED = "stratified bootstrap, percentile"


@dataclass(frozen=True)
class Interval:
    """A confidence interval, what was resampled to get it, and how its ends were found."""

    low: float
    high: float
    resampled: tuple[str, ...]  # ("seeds", "tasks"), ("tasks",) with one seed, ("seeds",) with one task
    level: float = LEVEL
    method: str = T_SCALED

    def as_json(self) -> dict[str, Any]:
        """The interval as JSON values; an end that is never reached is null."""
        return {
            "low": finite_or_none(self.low),
            "high": finite_or_none(self.high),
            "level": self.level,
            "method": self.method,
            "resampled": list(self.resampled),
        }


@dataclass(frozen=True)
class Estimate:
    """A number and, where the data allow them, its two-level interval and the stratified one that rliable reports."""

    value: float
    interval: Interval | None = None
    stratified: Interval | None = None

    def as_json(self) -> dict[str, Any]:
        """The estimate as JSON values; a value that is never reached is null."""
        return {
            "value": finite_or_none(self.value),
            "interval": self.interval.as_json() if self.interval else None,
            "stratified": self.stratified.as_json() if self.stratified else None,
        }


def finite_or_none(value: float) -> float | None:
    """The number, or None for an infinity or NaN, which JSON cannot hold."""
    return float(value) if np.isfinite(value) else None


def width_factor(stacked: Float64Array, level: float = LEVEL) -> Float64Array:
    """How much wider than its percentile interval the interval of each mean must be, (G, N, K) → (G,).

    √(V / V') · t / z: V is the variance of the mean by the analysis of variance, V' its variance under two-level resampling,
    t Student's quantile with Satterthwaite's degrees of freedom, z the normal one. 1 where all numbers are equal.
    """
    variance, freedom = mean_variance(stacked)
    resampled = _resampling_variance(stacked)
    factor = np.ones(len(stacked))
    varied = resampled > 1e-24 * np.square(stacked).mean(axis=(1, 2))  # below it rounding is all there is
    ratio = np.sqrt(variance[varied] / resampled[varied])
    factor[varied] = ratio * student_over_normal(freedom[varied], level)
    return factor


def student_over_normal(freedom: Float64Array, level: float = LEVEL) -> Float64Array:
    """Student's two-sided quantile over the normal one, (G,) → (G,); `freedom` is at least 1 and need not be whole."""
    from scipy.special import stdtrit  # 0.3 s to import, and only intervals need it

    upper = 0.5 + level / 2
    return np.asarray(stdtrit(freedom, upper) / NormalDist().inv_cdf(upper))


def t_scaled_interval(
    value: float,
    replicates: Float64Array,
    parts: Sequence[tuple[float, float]],
    resampled: tuple[str, ...],
    level: float = LEVEL,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> Interval | None:
    """The percentile interval of (R,) replicates, stretched about `value` as `width_factor` does for one mean.

    Args:
        value: the estimate.
        replicates: what its resamples gave, (R,).
        parts: independent components of its variance, each with its degrees of freedom.
        resampled: what was resampled; empty for a single number, which has no interval.
        level: of confidence.
        within: the range of the statistic.
    """
    if not resampled:
        return None
    tail = (1 - level) / 2
    bounds = np.quantile(replicates, [tail, 1 - tail])
    variance, spread = sum(part for part, _ in parts), sum(part**2 / freedom for part, freedom in parts)
    if variance > 0 and spread > 0 and replicates.var() > 0:
        freedom = np.array([variance**2 / spread])
        factor = np.sqrt(variance / replicates.var()) * student_over_normal(freedom, level)
        bounds = value + factor * (bounds - value)
    low, high = np.clip(bounds, *within)
    return Interval(float(low), float(high), resampled, level, T_SCALED)


def mean_variance(stacked: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Variance of the mean of (G, N, K) under crossed seed and task effects, (G,), and its degrees of freedom, (G,).

    (MS_seed + MS_task − MS_rest) / (N·K), but at least what seeds or tasks alone give; with one seed, or one task, the
    classical variance of the mean over the other.
    """
    _, num_seeds, num_tasks = stacked.shape
    seed_sum, task_sum, rest_sum = _sums_of_squares(stacked)
    seed_freedom, task_freedom = max(num_seeds - 1, 1), max(num_tasks - 1, 1)
    seed, task = seed_sum / seed_freedom, task_sum / task_freedom
    rest = rest_sum / (seed_freedom * task_freedom)
    scale = np.maximum(seed + task - rest, np.maximum(seed, task))
    spread = seed**2 / seed_freedom + task**2 / task_freedom + rest**2 / (seed_freedom * task_freedom)
    counts = [count - 1 for count in (num_seeds, num_tasks) if count > 1]
    least = float(min(counts, default=1))
    freedom = np.full(len(stacked), least)
    np.divide(scale**2, spread, out=freedom, where=spread > 0)
    return scale / (num_seeds * num_tasks), np.maximum(freedom, least)


def _resampling_variance(stacked: Float64Array) -> Float64Array:
    """Variance of the mean when seeds and tasks are drawn with replacement, in closed form, (G, N, K) → (G,)."""
    _, num_seeds, num_tasks = stacked.shape
    seed_sum, task_sum, rest_sum = _sums_of_squares(stacked)
    cells = num_seeds * num_tasks
    return np.asarray(seed_sum / (num_seeds * cells) + task_sum / (num_tasks * cells) + rest_sum / cells**2)


def _sums_of_squares(stacked: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Between seeds, between tasks, and the rest, (G,) each."""
    _, num_seeds, num_tasks = stacked.shape
    centred = stacked - stacked.mean(axis=(1, 2), keepdims=True)
    of_seeds, of_tasks = centred.mean(axis=2), centred.mean(axis=1)
    rest = centred - of_seeds[:, :, None] - of_tasks[:, None, :]
    return (
        num_tasks * np.square(of_seeds).sum(axis=1),
        num_seeds * np.square(of_tasks).sum(axis=1),
        np.square(rest).sum(axis=(1, 2)),
    )
