"""Equality with rliable, the library of Agarwal et al. (2021), on the same data and, for intervals, the same random draws."""

from __future__ import annotations

import numpy as np
import pytest
from rliable import library, metrics

from icrl_leaderboards.analysis import statistics
from icrl_leaderboards.analysis.statistics.bootstrap import mean_estimates, stratified_draws
from icrl_leaderboards.analysis.statistics.pairs import probability_estimate, profile, stratified_probability

THEIRS = {
    "mean": metrics.aggregate_mean,
    "median": metrics.aggregate_median,
    "iqm": metrics.aggregate_iqm,
    "optimality_gap": metrics.aggregate_optimality_gap,
}
SHAPES = [(1, 1), (2, 3), (3, 10), (5, 7), (10, 1)]
REPLICATES = 400


class LegacyDraws:
    """Draws resamples as rliable does: from NumPy's global generator, whatever `random_state` it was given."""

    def integers(self, high, size):
        return np.random.choice(high, size, replace=True)


def scores_of(shape, seed=0):
    """Skewed scores with effects of run and task, some of them above 1."""
    generator = np.random.default_rng([seed, *shape])
    return (
        generator.gamma(2.0, 0.4, shape) + generator.normal(0, 0.3, (shape[0], 1)) + generator.normal(0, 0.2, shape[1])
    )


@pytest.mark.parametrize("name", statistics.AGGREGATES)
@pytest.mark.parametrize("shape", SHAPES)
def test_aggregates(name, shape):
    scores = scores_of(shape)
    assert statistics.AGGREGATES[name](scores) == pytest.approx(THEIRS[name](scores), abs=1e-12)


@pytest.mark.parametrize("name", statistics.AGGREGATES)
def test_stratified_intervals_of_the_same_draws_are_equal(name):
    scores = scores_of((5, 10))
    np.random.seed(1)
    _, theirs = library.get_interval_estimates(
        {"us": scores}, lambda resample: np.array([THEIRS[name](resample)]), reps=REPLICATES
    )
    np.random.seed(1)
    draws = stratified_draws(scores.shape, LegacyDraws(), REPLICATES)
    ours = np.quantile(statistics.AGGREGATES[name](scores.ravel()[draws]), [0.025, 0.975])
    np.testing.assert_allclose(ours, theirs["us"][:, 0], atol=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), [((3, 4), (3, 4)), ((5, 10), (3, 10)), ((1, 6), (4, 6))])
def test_probability_of_improvement(ours, theirs):
    first, second = scores_of(ours), scores_of(theirs, seed=1)
    first[0, 0] = second[0, 0]  # a tie counts half
    expected = metrics.probability_of_improvement(first, second)
    assert statistics.probability_of_improvement(first, second) == pytest.approx(expected, abs=1e-12)
    assert probability_estimate(first, second, replicates=100).value == pytest.approx(expected, abs=1e-12)


def test_the_stratified_interval_of_the_probability_of_improvement():
    first, second = scores_of((4, 3)), scores_of((3, 3), seed=1)
    np.random.seed(2)
    _, theirs = library.get_interval_estimates(
        {"us": [first, second]}, lambda *pair: np.array([metrics.probability_of_improvement(*pair)]), reps=200
    )
    np.random.seed(2)
    ours = stratified_probability(first, second, LegacyDraws(), 200)
    np.testing.assert_allclose([ours.low, ours.high], theirs["us"][:, 0], atol=1e-12)


def test_performance_profiles():
    scores = scores_of((5, 10))
    thresholds = np.linspace(-0.5, 3, 15)
    np.random.seed(3)
    theirs, bands = library.create_performance_profile({"us": scores}, thresholds, reps=1000)
    ours = profile(scores, thresholds)
    np.testing.assert_allclose(ours.share, theirs["us"], atol=1e-12)
    np.testing.assert_allclose(ours.stratified, bands["us"], atol=1.01 / scores.size)  # a score more or less


def test_intervals_in_bulk_are_rliables_up_to_the_draw():
    scores = scores_of((5, 10))
    np.random.seed(4)
    _, theirs = library.get_interval_estimates({"us": scores}, lambda resample: np.array([resample.mean()]), reps=4000)
    (ours,) = mean_estimates([scores], stratified=True, replicates=4000)
    width = theirs["us"][1, 0] - theirs["us"][0, 0]
    np.testing.assert_allclose([ours.stratified.low, ours.stratified.high], theirs["us"][:, 0], atol=0.05 * width)
    assert ours.interval.low < ours.stratified.low  # the primary interval is the wider one
    assert ours.interval.high > ours.stratified.high
