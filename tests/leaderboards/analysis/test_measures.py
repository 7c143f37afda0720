"""Every statistic of a row by hand on two seeds and three tasks, where it exists, and that company changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from icrl_leaderboards.analysis.statistics.measures import DESCRIPTIONS, EPISODES_TO_ORACLE, Outcome, measure, value_of
from icrl_leaderboards.analysis.summary import compute_statistics, group_runs
from icrl_leaderboards.runs.scores import RunScores

#: Two seeds on three tasks for four episodes; random −10; oracle −2, −6 and none; blind ceilings −6, −8 and 0.
RETURNS = np.array(
    [
        [[-10.0, -6.0, -4.0, -2.0], [-10.0, -10.0, -8.0, -8.0], [0.0, 1.0, 2.0, 3.0]],
        [[-8.0, -8.0, -4.0, 0.0], [-9.0, -8.0, -7.0, -6.0], [0.0, 0.0, 0.0, 1.0]],
    ]
)
OUTCOME = Outcome(
    RETURNS, np.full((2, 3), -10.0), np.array([[-2.0, -6.0, np.nan]] * 2), np.array([[-6.0, -8.0, 0.0]] * 2)
)
SCALES = (OUTCOME.random, OUTCOME.oracle, OUTCOME.blind_ceiling)
#: What needs no oracle.
OF_RETURNS = {
    "first_episode": (-10 - 10 + 0 - 8 - 9 + 0) / 6,
    "last_episodes": (-2 - 8 + 3 + 0 - 6 + 1) / 6,
    "improvement": (8 + 2 + 3 + 8 + 3 + 1) / 6,
    "area_under_curve": (-5.5 - 9 + 1.5 - 5 - 7.5 + 0.25) / 6,
    "return_median": -1.0,  # of −1, −7, 2
    "return_iqm": (-6 - 2 + 0 + 1) / 4,
}
# last episodes (−2, −8, 3), (0, −6, 1); their scores (1, 0.5), (1.25, 1)
OF_SCORES = {
    "regret": (4 * -2 + 22 + 4 * -6 + 36 + 4 * -2 + 20 + 4 * -6 + 30) / 4,
    "first_score": (0 + 0 + 0.25 + 0.25) / 4,
    "score_mean": (1 + 0.5 + 1.25 + 1) / 4,
    "score_median": (1.125 + 0.75) / 2,
    "score_iqm": 1.0,  # of 0.5, 1, 1, 1.25
    "optimality_gap": 1 - (1 + 0.5 + 1 + 1) / 4,
    "improvement_score": (1 + 0.5 + 1 + 0.75) / 4,
    "area_score": (4.5 / 8 + 1 / 4 + 5 / 8 + 2.5 / 4) / 4,
    "headroom_score": (1 + 0 + 1.5 + 1) / 4,
    "episodes_to_oracle": 4,  # the mean curve: 0.125, 0.3125, 0.6875, 0.9375
}
BY_HAND = OF_RETURNS | OF_SCORES


def test_by_hand():
    (found,) = measure([OUTCOME])
    assert list(found) == list(DESCRIPTIONS)
    assert {name: estimate.value for name, estimate in found.items()} == pytest.approx(BY_HAND)
    assert {name: value_of(name, OUTCOME) for name in DESCRIPTIONS} == pytest.approx(BY_HAND)


def test_every_estimate_lies_in_both_of_its_intervals():
    (found,) = measure([OUTCOME])
    for name, estimate in found.items():
        assert estimate.interval.resampled == ("seeds", "tasks")
        assert estimate.interval.low <= estimate.value <= estimate.interval.high, name
        if name != EPISODES_TO_ORACLE:
            assert estimate.stratified.low <= estimate.value <= estimate.stratified.high, name


def test_without_an_oracle_there_are_raw_returns_only():
    bare = Outcome(RETURNS, OUTCOME.random, np.full((2, 3), np.nan))
    (found,) = measure([bare])
    present = {name for name, estimate in found.items() if estimate is not None}
    assert present == set(OF_RETURNS)
    assert {name for name in DESCRIPTIONS if value_of(name, bare) is not None} == present


def test_one_seed_has_no_stratified_interval_and_a_two_level_one_over_tasks():
    (found,) = measure([Outcome(RETURNS[:1], *(each[:1] for each in SCALES))])
    for estimate in found.values():
        assert estimate.stratified is None
        assert estimate.interval.resampled == ("tasks",)


def test_one_task_and_one_seed_have_numbers_only():
    (found,) = measure([Outcome(RETURNS[:1, :1], *(each[:1, :1] for each in SCALES))])
    assert all(estimate.interval is None and estimate.stratified is None for estimate in found.values())


def test_neither_company_nor_bulk_changes_an_estimate(make_record):
    records = [
        make_record(method, seed, blind_ceiling=[-8.0] * 10) for method in ("ad-mamba", "ad-dt") for seed in range(3)
    ]
    longer = [make_record("source", seed, num_episodes=300, blind_ceiling=[-8.0] * 10) for seed in range(2)]
    together = group_runs([RunScores.from_record(record) for record in [*records, *longer]])
    compute_statistics(together)
    for row in together:
        (alone,) = group_runs(row.runs)
        assert alone.statistics == row.statistics
        assert {name: row.statistics[name].value for name in DESCRIPTIONS} == pytest.approx(
            {name: value_of(name, row.outcome) for name in DESCRIPTIONS}
        )


def test_a_learning_curve_of_more_episodes_is_taken_over_its_own(make_record):
    scores = [RunScores.from_record(make_record("source", seed, num_episodes=400, skill=1.0)) for seed in range(2)]
    (row,) = group_runs(scores)
    last = np.array([each.returns[:, -40:].mean() for each in scores]).mean()
    assert row.num_episodes == 400
    assert row.statistics["last_episodes"].value == pytest.approx(last)
    assert row.statistics["area_under_curve"].value == pytest.approx(row.returns.mean())
    assert 80 <= row.statistics[EPISODES_TO_ORACLE].value <= 200
