"""Intervals against exact enumeration, against SciPy, and by how often they cover the truth."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from icrl_leaderboards.analysis import statistics
from icrl_leaderboards.analysis.statistics.bootstrap import (
    mean_band,
    mean_estimates,
    statistic_estimates,
    stratified_draws,
    two_level_draws,
)

SCORES = np.array([[0.0, 0.5, 1.5], [0.2, 0.7, 1.1]])


def observed(draws, scores, replicates, seed=0):
    """How often each value of the mean occurred among the resamples."""
    positions = draws(scores.shape, np.random.default_rng(seed), replicates)  # (R, N, K)
    return Counter(np.round(scores.ravel()[positions].mean(axis=(1, 2)), 9).tolist())


def assert_same_distribution(counts, exact, replicates):
    total = sum(exact.values())
    assert set(counts) <= set(exact)
    for value, weight in exact.items():
        share = weight / total
        error = 5 * np.sqrt(share * (1 - share) / replicates)
        assert counts[value] / replicates == pytest.approx(share, abs=error)


def test_two_level_resamples_are_whole_rows_and_whole_columns():
    exact = Counter(
        round(float(SCORES[np.ix_(rows, columns)].mean()), 9)
        for rows in product(range(2), repeat=2)
        for columns in product(range(3), repeat=3)
    )
    assert_same_distribution(observed(two_level_draws, SCORES, 40_000), exact, 40_000)


def test_stratified_resamples_are_runs_within_each_task():
    tasks = [[SCORES[list(rows), task].mean() for rows in product(range(2), repeat=2)] for task in range(3)]
    exact = Counter(round(float(np.mean(choice)), 9) for choice in product(*tasks))
    assert_same_distribution(observed(stratified_draws, SCORES, 40_000), exact, 40_000)


def test_stratified_on_one_task_is_scipys_percentile_bootstrap():
    values = np.random.default_rng(1).gamma(2.0, size=(12, 1))
    (estimate,) = statistic_estimates([values], statistics.mean, replicates=40_000, stratified=True)
    ours = estimate.stratified
    theirs = scipy_bootstrap(
        (values[:, 0],), np.mean, n_resamples=40_000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.02)
    assert ours.high == pytest.approx(theirs.high, abs=0.02)


def test_bulk_means_have_the_intervals_of_single_ones():
    scores = np.random.default_rng(4).normal(size=(3, 10)) + np.random.default_rng(5).normal(size=(3, 1))
    (bulk,) = mean_estimates([scores], replicates=40_000)
    (estimate,) = statistic_estimates([scores], statistics.mean, seed=6, replicates=40_000)
    single = estimate.interval
    assert bulk.value == pytest.approx(scores.mean())
    assert bulk.interval.low == pytest.approx(single.low, abs=0.03)
    assert bulk.interval.high == pytest.approx(single.high, abs=0.03)
    assert bulk.interval.resampled == single.resampled == ("seeds", "tasks")


def test_an_interval_does_not_depend_on_its_company():
    generator = np.random.default_rng(7)
    matrices = [generator.normal(size=shape) for shape in [(3, 10)] * 40 + [(2, 5)] * 3]
    together = mean_estimates(matrices)
    alone = [mean_estimates([matrix])[0] for matrix in matrices]
    assert together == alone


def test_one_seed_shows_no_seed_interval():
    scores = np.arange(10.0)[None]
    (estimate,) = mean_estimates([scores])
    assert estimate.interval.resampled == ("tasks",)
    (other,) = statistic_estimates([scores], statistics.median, stratified=True)
    assert other.interval.resampled == ("tasks",)
    assert other.stratified is None
    assert mean_estimates([scores.T])[0].interval.resampled == ("seeds",)


def test_one_number_has_no_interval():
    (estimate,) = mean_estimates([np.array([[3.0]])])
    assert estimate.value == 3.0
    assert estimate.interval is None
    assert statistic_estimates([np.array([[3.0]])], statistics.median)[0].interval is None


def test_a_seed_decides_everything():
    scores = np.random.default_rng(0).normal(size=(3, 10))
    intervals = [statistic_estimates([scores], statistics.interquartile_mean, seed=seed)[0] for seed in (8, 8, 9)]
    assert intervals[0] == intervals[1] != intervals[2]
    state = np.random.get_state()[1].copy()
    mean_estimates([SCORES])
    assert (np.random.get_state()[1] == state).all()


def test_the_band_of_a_curve_is_the_interval_of_each_episode():
    returns = np.random.default_rng(9).normal(size=(3, 6, 4))
    low, high = mean_band(returns)
    estimates = mean_estimates([returns[:, :, episode] for episode in range(4)])
    np.testing.assert_allclose(low, [each.interval.low for each in estimates])
    np.testing.assert_allclose(high, [each.interval.high for each in estimates])


def simulate(generator, simulations, seeds, tasks, seed_effect, task_effect, noise):
    """Hierarchical scores around 0, (simulations, N, K)."""
    return (
        seed_effect * generator.normal(size=(simulations, seeds, 1))
        + task_effect * generator.normal(size=(simulations, 1, tasks))
        + noise * generator.normal(size=(simulations, seeds, tasks))
    )


def coverage(intervals):
    return np.mean([interval.low <= 0 <= interval.high for interval in intervals])


def test_the_stratified_interval_is_too_narrow_for_models_scored_on_all_tasks():
    data = simulate(np.random.default_rng(11), 150, 5, 10, 1.0, 0.3, 0.3)
    estimates = mean_estimates(list(data), replicates=500, stratified=True)
    two_level = coverage([each.interval for each in estimates])
    assert coverage([each.stratified for each in estimates]) < 0.6 < two_level
