"""The width of intervals: Student's quantile against SciPy, the variance by hand, and how often the truth is covered."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from icrl_leaderboards.analysis import statistics
from icrl_leaderboards.analysis.statistics.bootstrap import crossing_estimate, mean_estimates, statistic_estimates
from icrl_leaderboards.analysis.statistics.intervals import mean_variance, student_over_normal, width_factor
from icrl_leaderboards.analysis.statistics.pairs import (
    pooled_difference,
    pooled_probability,
    probability_estimate,
    wins_of,
)

SCORES = np.array([[0.0, 0.5, 1.5], [0.2, 0.7, 1.1]])


def test_students_quantile_is_that_of_the_tables():
    """Two-sided 95 %, as printed in every book: 1, 2, 5, 10 and 30 degrees of freedom."""
    ratios = student_over_normal(np.array([1.0, 2.0, 5.0, 10.0, 30.0, 1e9]))
    np.testing.assert_allclose(ratios * 1.95996, [12.7062, 4.3027, 2.5706, 2.2281, 2.0423, 1.95996], rtol=2e-5)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_students_quantile_has_the_mass_of_its_level(level):
    freedom = np.geomspace(1, 1e6, 1000)
    quantile = student_over_normal(freedom, level) * stats.norm.ppf(0.5 + level / 2)
    np.testing.assert_allclose(stats.t.cdf(quantile, freedom) - stats.t.cdf(-quantile, freedom), level, rtol=1e-9)


def test_the_variance_of_two_seeds_on_three_tasks_by_hand():
    # means: all 2/3; seeds 2/3, 2/3; tasks 0.1, 0.6, 1.3; what is left ±0.1, ±0.1, ∓0.2
    task = 2 * ((0.1 - 2 / 3) ** 2 + (0.6 - 2 / 3) ** 2 + (1.3 - 2 / 3) ** 2) / 2
    rest = 2 * (0.1**2 + 0.1**2 + 0.2**2) / 2
    variance, freedom = mean_variance(SCORES[None])
    # seeds vary by nothing, so the variance of the tasks' means is the least that it can be
    assert variance[0] == pytest.approx(task / 6)
    assert freedom[0] == pytest.approx(task**2 / (task**2 / 2 + rest**2 / 2))
    resampled = [
        SCORES[np.ix_(rows, columns)].mean()
        for rows in product(range(2), repeat=2)
        for columns in product(range(3), repeat=3)
    ]
    student = stats.t.ppf(0.975, freedom[0]) / stats.norm.ppf(0.975)
    assert width_factor(SCORES[None])[0] == pytest.approx(np.sqrt(task / 6 / np.var(resampled)) * student, rel=1e-3)


def test_with_one_seed_the_variance_is_that_of_the_mean_over_tasks():
    values = np.random.default_rng(0).gamma(2.0, size=(1, 1, 9))
    for scores in (values, np.swapaxes(values, 1, 2)):
        variance, freedom = mean_variance(scores)
        assert np.sqrt(variance[0]) == pytest.approx(stats.sem(values.ravel()))
        assert freedom[0] == 8


def test_with_one_seed_and_many_tasks_the_interval_is_scipys():
    values = np.random.default_rng(1).normal(size=(1, 40))
    (ours,) = mean_estimates([values], replicates=40_000)
    theirs = stats.ttest_1samp(values.ravel(), 0).confidence_interval()
    assert [ours.interval.low, ours.interval.high] == pytest.approx([theirs.low, theirs.high], abs=0.02)


def test_equal_numbers_have_an_interval_without_width():
    (estimate,) = mean_estimates([np.full((3, 4), 0.1)])
    assert estimate.interval.low == pytest.approx(0.1, abs=1e-12)
    assert estimate.interval.high == pytest.approx(0.1, abs=1e-12)


# --- Coverage ------------------------------------------------------------------------------------------------------------


def simulate(generator, simulations, seeds, tasks, seed_effect, task_effect, noise):
    """Hierarchical scores around 0, (simulations, N, K)."""
    return (
        seed_effect * generator.normal(size=(simulations, seeds, 1))
        + task_effect * generator.normal(size=(simulations, 1, tasks))
        + noise * generator.normal(size=(simulations, seeds, tasks))
    )


def coverage(intervals, truth=0.0):
    return np.mean([interval.low <= truth <= interval.high for interval in intervals])


@pytest.mark.parametrize(("seeds", "seed_effect"), [(3, 0.3), (5, 0.3), (5, 1.0), (10, 0.3), (10, 1.0), (20, 1.0)])
def test_two_level_intervals_cover_the_truth(seeds, seed_effect):
    data = simulate(np.random.default_rng([10, seeds]), 1500, seeds, 10, seed_effect, 1.0, 0.5 * seed_effect)
    assert 0.93 <= coverage([each.interval for each in mean_estimates(list(data), replicates=400)]) <= 0.97


def test_three_seeds_that_differ_as_much_as_tasks_cover_a_little_less():
    data = simulate(np.random.default_rng([10, 3]), 1500, 3, 10, 1.0, 1.0, 0.5)
    assert 0.91 <= coverage([each.interval for each in mean_estimates(list(data), replicates=400)]) <= 0.95


def test_percentiles_alone_do_not_cover_with_three_seeds():
    data = simulate(np.random.default_rng(11), 1000, 3, 10, 1.0, 1.0, 0.5)
    estimates = mean_estimates(list(data), replicates=400, t_scaled=False)
    assert 0.80 <= coverage([each.interval for each in estimates]) <= 0.88


def test_two_seeds_and_pure_noise_have_the_coverage_that_the_page_says():
    two = simulate(np.random.default_rng(12), 1000, 2, 10, 1.0, 1.0, 0.5)
    assert 0.87 <= coverage([each.interval for each in mean_estimates(list(two), replicates=400)]) <= 0.93
    noise = simulate(np.random.default_rng(13), 1000, 3, 10, 0.0, 0.0, 1.0)
    assert coverage([each.interval for each in mean_estimates(list(noise), replicates=400)]) >= 0.97


@pytest.mark.parametrize("name", ["median", "iqm"])
def test_intervals_of_other_aggregates_cover_the_truth(name):
    data = simulate(np.random.default_rng(14), 400, 5, 10, 0.6, 1.0, 0.5)
    estimates = statistic_estimates(list(data), statistics.AGGREGATES[name], replicates=300)
    assert 0.93 <= coverage([each.interval for each in estimates]) <= 0.98


def test_the_pooled_difference_covers_the_truth():
    data = [simulate(np.random.default_rng([16, index]), 400, 3, 10, 1.0, 0.5, 0.5) for index in range(3)]
    intervals = [pooled_difference(list(each), replicates=300).interval for each in zip(*data, strict=True)]
    assert 0.93 <= coverage(intervals) <= 0.98


def test_the_probability_of_improvement_covers_the_truth():
    ours, theirs = (simulate(np.random.default_rng([17, side]), 400, 5, 10, 0.3, 0.0, 1.0) for side in range(2))
    pairs = zip(ours, theirs, strict=True)
    intervals = [pooled_probability([wins_of(*pair)], replicates=300).interval for pair in pairs]
    assert 0.93 <= coverage(intervals, truth=0.5) <= 0.99


# --- Statistics with ends of their own -------------------------------------------------------------------------------------


def test_a_probability_stays_between_0_and_1_and_ten_wins_are_no_certainty():
    generator = np.random.default_rng(18)
    ours, theirs = generator.normal(1.2, size=(3, 5)), generator.normal(size=(3, 5))
    interval = probability_estimate(ours, theirs).interval
    assert 0 <= interval.low < interval.high <= 1
    assert probability_estimate(ours + 100, theirs).interval is None
    assert probability_estimate(ours + 100, theirs).value == 1.0


def test_one_environment_pooled_is_itself():
    scores = np.random.default_rng(19).normal(size=(3, 10))
    assert pooled_difference([scores]) == mean_estimates([scores], stratified=True)[0]


def test_never_is_an_end_of_an_interval():
    rising = np.linspace(0, 1, 11)
    slow = np.minimum(rising, 0.5)
    assert crossing_estimate(np.stack([[rising] * 5] * 2), 0.75).value == 9
    mixed = np.stack([[rising, rising, rising, slow]] * 2)
    estimate = crossing_estimate(mixed, 0.75)
    assert estimate.value == 10  # the mean of 0.9, 0.9, 0.9 and 0.5 is 0.8, the one before 0.725
    assert (estimate.interval.low, estimate.interval.high) == (9, np.inf)
    assert estimate.as_json()["interval"]["high"] is None
    assert crossing_estimate(np.stack([[slow]] * 2), 0.75).as_json()["value"] is None
    assert crossing_estimate(mixed[:, :0], 0.75) is None
