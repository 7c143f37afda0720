"""The interval of a repeated return: held against a simulation of honest reruns, and against shifts that no luck explains."""

from __future__ import annotations

import numpy as np
import pytest

from icrl_leaderboards.exchange.reruns import compare_returns


def simulate(generator, tasks=10, episodes=50):
    """Two attempts of one agent: the same learning curves, independent noise of task-wise size."""
    trend = -12 + 10 * (1 - np.exp(-np.arange(episodes) / 8)) + generator.normal(size=(tasks, 1))
    scale = generator.uniform(0.2, 2.0, size=(tasks, 1))
    return [trend + scale * generator.normal(size=trend.shape) for _ in range(2)]


def test_equal_returns_are_equal():
    returns = np.random.default_rng(0).normal(size=(3, 4)).tolist()
    assert compare_returns(returns, returns).counts == {"equal": 12, "within": 0, "outside": 0}


def test_an_honest_rerun_lies_within_in_about_95_of_100_cases():
    generator = np.random.default_rng(1)
    whole = [compare_returns(*simulate(generator)).counts["outside"] == 0 for _ in range(400)]
    assert 0.88 <= np.mean(whole) <= 0.99  # the spread is estimated from 49 differences a task


def test_a_shift_of_ten_spreads_is_outside():
    generator = np.random.default_rng(2)
    first, second = simulate(generator)
    second[3, 7] = first[3, 7] + 25
    found = compare_returns(first, second)
    assert found.verdicts[3, 7] == 2
    assert found.as_json()["verdicts"][3][7] == "outside"


def test_the_spread_is_that_of_single_episodes():
    generator = np.random.default_rng(3)
    noise = 2.0 * generator.normal(size=(1, 20_000))
    found = compare_returns(noise, noise + np.linspace(0, 50, 20_000))
    z = 4.7  # of (1 + 0.95^(1 / 20,000)) / 2
    assert found.half_width[0] == pytest.approx(z * np.sqrt(2) * 2.0, rel=0.02)


def test_a_record_cannot_widen_its_own_interval():
    honest = np.tile([1.0, 2.0], (1, 10))
    invented = honest * 100
    assert compare_returns(invented, honest).counts["outside"] == 20


def test_rounding_is_within_where_nothing_varies():
    found = compare_returns([[-5.0, -5.0000001, -5.1]], [[-5.0, -5.0, -5.0]])
    assert found.counts == {"equal": 1, "within": 1, "outside": 1}


def test_another_shape_is_outside():
    assert compare_returns([[1.0, 2.0]], [[1.0]]).counts == {"equal": 0, "within": 0, "outside": 2}
