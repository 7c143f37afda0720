"""Runs become rows and JSON: what is grouped, what counts, what is flagged, and the keys that scripts rely on."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from icrl_leaderboards.analysis.summary import group_runs, summarise_run, tables_of
from icrl_leaderboards.runs.scores import RunScores


def rows_of(*records):
    return group_runs([RunScores.from_record(record) for record in records])


def test_the_keys_that_scripts_rely_on(make_record):
    record = make_record(oracle=[None, *[-2.0] * 9])
    summary = summarise_run(record)
    promised = (
        "run_id method env protocol seed parameters returns random oracle normalised_score first_episode last_episodes "
        "train_env_steps adapt_env_steps seconds checkpoint dataset"
    )
    assert set(promised.split()) <= set(summary)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["env"] == record.environment
    assert summary["returns"] == record.returns
    assert summary["kernel"] == "numba"


def test_a_summary_by_hand(make_record):
    record = make_record(
        returns=[[-10.0, -6.0], [-8.0, -4.0], [0.0, 1.0]],
        episode_lengths=[[50, 50]] * 3,
        task_parameters=[[0.0]] * 3,
        task_labels=["a", "b", "c"],
        random=[-10.0, -12.0, -10.0],
        zero_action=[-9.0] * 3,
        oracle=[-2.0, -4.0, None],
        oracle_greedy=[None] * 3,
    )
    summary = summarise_run(record)
    assert summary["first_episode"] == -6.0
    assert summary["last_episodes"] == -3.0
    assert summary["improvement"] == 3.0
    assert summary["area_under_curve"] == -4.5
    assert summary["best_episode"] == -3.0
    assert summary["normalised_scores"] == [0.5, 1.0, None]
    assert summary["normalised_score"] == 0.75
    assert summary["flagged_tasks"] == ["c"]
    assert summary["intervals"]["improvement"]["resampled"] == ["tasks"]  # one run has one seed
    # the resamples' percentiles are 0.5 and 1; Student's quantile for two tasks is 12.7, and two tasks vary half as much
    # among themselves as two new ones would
    stretched = 0.25 * np.sqrt(2) * 12.7062047 / 1.95996398
    assert summary["intervals"]["normalised_score"]["low"] == pytest.approx(0.75 - stretched)


def test_without_any_oracle_there_is_no_score(make_record):
    summary = summarise_run(make_record(oracle=[None] * 10))
    assert summary["normalised_score"] is None
    assert summary["normalised_scores"] == [None] * 10
    assert summary["intervals"]["normalised_score"] is None
    (table,) = tables_of(rows_of(make_record(oracle=[None] * 10, oracle_greedy=[None] * 10)))
    assert [reference.name for reference in table.references] == ["zero action", "random"]
    assert all(reference.normalised_score is None for reference in table.references)


def test_seeds_are_grouped_and_nothing_else_is(make_record):
    runs = [make_record(seed=seed) for seed in range(3)]
    others = [
        make_record(method="ad-dt"),
        make_record(environment="reacher-goal-v2"),
        make_record(protocol="laptop-v1"),
        make_record(track="offline", run_id="offline"),
        make_record(variant={"method.context_length": 200}, run_id="variant"),
        make_record(num_episodes=20, run_id="shorter"),
        make_record(task_labels=[f"other-{index}" for index in range(10)], run_id="other tasks"),
    ]
    rows = rows_of(*runs, *others)
    assert sorted(len(row.runs) for row in rows) == [1] * 7 + [3]
    full = next(row for row in rows if len(row.runs) == 3)
    assert full.seeds == (0, 1, 2)
    assert full.returns.shape == (3, 10, 50)
    assert full.improvement.interval.resampled == ("seeds", "tasks")


def test_tables_never_mix_what_cannot_be_compared(make_record):
    rows = rows_of(
        make_record(),
        make_record(environment="reacher-goal-v2"),
        make_record(protocol="smoke-v1"),
        make_record(track="offline", run_id="x"),
    )
    assert len(tables_of(rows)) == 4


def test_of_two_runs_of_one_seed_the_newest_counts(make_record):
    old = make_record(run_id="old", created_at="2026-01-01T00:00:00+00:00", skill=0.1)
    new = make_record(run_id="new", created_at="2026-02-01T00:00:00+00:00", skill=0.9)
    for order in ((old, new), (new, old)):
        (row,) = rows_of(*order)
        assert [run.run_id for run in row.runs] == ["new"]
        assert row.superseded == ("old",)


def test_runs_of_different_plugin_states_are_marked(make_record):
    first, second = make_record(seed=0), make_record(seed=1)
    changed = [dataclasses.replace(use, content_hash="cd" * 32) for use in second.plugins]
    assert not rows_of(first, second)[0].mixed_plugins
    assert rows_of(first, dataclasses.replace(second, plugins=changed))[0].mixed_plugins


def test_a_task_that_one_run_flags_is_left_out_of_all(make_record):
    (row,) = rows_of(make_record(seed=0), make_record(seed=1, oracle=[None, *[-2.0] * 9]))
    assert row.flagged_tasks == ("test-000",)
    assert row.scores.shape == (2, 9)


def test_rows_are_ranked_among_floors_and_oracle(make_record):
    (table,) = tables_of(rows_of(make_record(skill=0.9), make_record(method="ad-dt", skill=0.05)))
    names = [entry["method"] for entry in table.as_json()]
    assert names == ["oracle, greedy", "oracle", "ad-mamba", "zero action", "ad-dt", "random"]
    by_name = {entry["method"]: entry for entry in table.as_json()}
    assert by_name["oracle"]["normalised_score"]["value"] == pytest.approx(1.0)
    assert by_name["random"]["normalised_score"]["value"] == pytest.approx(0.0)
    assert by_name["random"]["kind"] == "floor"
    json.dumps(table.as_json(), allow_nan=False)


def test_neither_order_nor_company_changes_a_row(make_record):
    records = [make_record(method=method, seed=seed) for method in ("ad-mamba", "ad-dt") for seed in range(3)]
    together = [row.as_json() for row in rows_of(*records)]
    assert [row.as_json() for row in rows_of(*reversed(records))] == together
    alone = [row.as_json() for method in (0, 3) for row in rows_of(*records[method : method + 3])]
    assert sorted(alone, key=str) == sorted(together, key=str)


def test_estimates_are_of_the_raw_returns(make_record):
    records = [make_record(seed=seed) for seed in range(3)]
    (row,) = rows_of(*records)
    returns = np.array([record.returns for record in records])
    assert row.first_episode.value == pytest.approx(returns[:, :, 0].mean())
    assert row.last_episodes.value == pytest.approx(returns[:, :, -5:].mean())
    assert row.best_episode == pytest.approx(returns.mean(axis=(0, 1)).max())
    assert row.improvement.interval.low < row.improvement.value < row.improvement.interval.high
