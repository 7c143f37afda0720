"""Statistics against numbers worked out by hand, against SciPy, and under the symmetries that they must have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import trim_mean

from icrl_leaderboards.analysis import statistics

#: Two runs on three tasks.
SCORES = np.array([[0.0, 0.5, 1.5], [0.2, 0.7, 1.1]])

reproducible = settings(deadline=None, derandomize=True, max_examples=40)
finite = st.floats(-1e3, 1e3, allow_nan=False)
matrices = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=7), elements=finite)


def test_aggregates_of_two_runs_on_three_tasks():
    assert statistics.mean(SCORES) == pytest.approx(4.0 / 6)
    assert statistics.median(SCORES) == pytest.approx(0.6)  # of the task means 0.1, 0.6, 1.3
    assert statistics.interquartile_mean(SCORES) == pytest.approx((0.2 + 0.5 + 0.7 + 1.1) / 4)
    assert statistics.optimality_gap(SCORES) == pytest.approx(1 - (0 + 0.5 + 1 + 0.2 + 0.7 + 1) / 6)


def test_normalised_scores_by_hand():
    returns = np.array([[-6.0, -2.0, 0.0], [-10.0, -11.0, -2.0]])
    scores, flagged = statistics.normalised_scores(returns, np.full(3, -10.0), np.array([-2.0, -2.0, -2.0]))
    np.testing.assert_allclose(scores, [[0.5, 1.0, 1.25], [0.0, -0.125, 1.0]])  # never clipped
    assert not flagged.any()


def test_tasks_without_a_scale_are_flagged():
    oracle = np.array([-2.0, np.nan, -10.0, -11.0, -9.95, -9.0, 0.0])
    random = np.array([-10.0, -10.0, -10.0, -10.0, -10.0, -10.0, 0.0])
    scores, flagged = statistics.normalised_scores(np.full((2, 7), -5.0), random, oracle)
    assert flagged[0].tolist() == [False, True, True, True, True, False, True]
    assert np.isnan(scores[flagged]).all()
    assert np.isfinite(scores[~flagged]).all()


def test_along_the_episodes_by_hand():
    returns = np.array([[1.0, 3.0, 5.0, 2.0], [0.0, 2.0, 2.0, 4.0]])
    np.testing.assert_array_equal(statistics.first_episode(returns), [1.0, 0.0])
    np.testing.assert_array_equal(statistics.last_episodes(returns), [2.0, 4.0])
    np.testing.assert_array_equal(statistics.improvement(returns), [1.0, 4.0])
    np.testing.assert_array_equal(statistics.area_under_curve(returns), [2.75, 2.0])
    assert statistics.best_episode(returns[None]) == (3.5, 3)


@pytest.mark.parametrize(("episodes", "count"), [(1, 1), (5, 1), (10, 1), (19, 1), (20, 2), (50, 5), (105, 10)])
def test_the_last_tenth_holds_at_least_one_episode(episodes, count):
    assert statistics.last_count(episodes) == count
    returns = np.arange(episodes, dtype=float)
    assert statistics.last_episodes(returns) == pytest.approx(returns[-count:].mean())


def test_the_best_episode_is_taken_after_the_mean():
    noise = np.random.default_rng(0).normal(size=(3, 10, 50))
    best, _ = statistics.best_episode(noise)
    assert best < 0.7  # the mean of 30 maxima of 50 numbers would be above 2


@reproducible
@given(matrices)
def test_interquartile_mean_is_scipys_trimmed_mean(scores):
    assert statistics.interquartile_mean(scores) == pytest.approx(trim_mean(scores, 0.25, axis=None), abs=1e-9)


@reproducible
@given(matrices, st.randoms(use_true_random=False))
def test_aggregates_do_not_depend_on_any_order(scores, random):
    rows, columns = list(range(scores.shape[0])), list(range(scores.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    for statistic in statistics.AGGREGATES.values():
        assert statistic(scores[rows][:, columns]) == pytest.approx(statistic(scores), abs=1e-9)


@reproducible
@given(matrices, st.floats(0.1, 10), finite)
def test_central_aggregates_follow_shift_and_scale(scores, scale, shift):
    for name in ("mean", "median", "iqm"):
        statistic = statistics.AGGREGATES[name]
        assert statistic(scale * scores + shift) == pytest.approx(scale * statistic(scores) + shift, abs=1e-8)
        assert scores.min() - 1e-9 <= statistic(scores) <= scores.max() + 1e-9


@reproducible
@given(matrices, st.floats(-100, 0), st.floats(10, 200), st.floats(0.1, 10), finite)
def test_normalised_scores_do_not_depend_on_the_unit_of_reward(returns, random, gap, scale, shift):
    floor, ceiling = np.full(returns.shape[1], random), np.full(returns.shape[1], random + gap)
    scores, _ = statistics.normalised_scores(returns, floor, ceiling)
    moved, flagged = statistics.normalised_scores(
        scale * returns + shift, scale * floor + shift, scale * ceiling + shift
    )
    np.testing.assert_allclose(moved[~flagged], scores[~flagged], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(statistics.normalised_scores(floor[None], floor, ceiling)[0], 0, atol=1e-12)
    np.testing.assert_allclose(statistics.normalised_scores(ceiling[None], floor, ceiling)[0], 1, atol=1e-12)


@reproducible
@given(hnp.arrays(np.float64, (4, 3, 5), elements=finite))
def test_statistics_of_a_batch_are_those_of_its_members(batch):
    for statistic in statistics.AGGREGATES.values():
        np.testing.assert_allclose(statistic(batch), [statistic(each) for each in batch], atol=1e-9)
