"""Scores that say nothing are shown in brackets, rank nothing, and say why; the headroom score by hand."""

from __future__ import annotations

import numpy as np
import pytest

from icrl_leaderboards.analysis.comparison import compare
from icrl_leaderboards.analysis.standing import set_apart
from icrl_leaderboards.analysis.summary import Row, group_runs, tables_of
from icrl_leaderboards.runs.scores import RunScores
from icrl_leaderboards.wording.cells import cells_of, marks_of, notes_of
from icrl_leaderboards.wording.columns import choose_column, default_columns, sorted_entries
from icrl_registry.errors import UnknownNameError, UsageError

ALL = np.ones(10, dtype=bool)


@pytest.mark.parametrize(
    ("usable", "random", "oracle", "reason"),
    [
        (ALL, -10.0, -2.0, None),
        (np.arange(10) < 5, -10.0, -2.0, None),
        (np.arange(10) < 4, -10.0, -2.0, "only 4 of 10 tasks can be scored"),
        (ALL, -10.0, -9.1, "hardly better than random"),  # 0.9 of 10 is less than a tenth
        (ALL, -10.0, -8.9, None),
        (ALL, -10.0, -11.0, "no better than random"),
        (ALL, 0.0, 0.0, "no better than random"),
        (~ALL, -10.0, np.nan, "no task has an oracle"),
    ],
)
def test_when_scores_are_set_apart(usable, random, oracle, reason):
    found = set_apart(usable, np.full((2, 10), random), np.full((2, 10), oracle))
    assert found is None if reason is None else reason in found


def rows_of(*records):
    return group_runs([RunScores.from_record(record) for record in records])


def hardly(**changes):
    """A table whose oracle is above random on two tasks of ten: nine random-like returns look like winners."""
    return {"random": [-12.5] * 10, "oracle": [-12.0, -12.2, *[-13.0] * 8], "oracle_greedy": [None] * 10} | changes


def test_a_score_that_says_nothing_looks_like_it(make_record):
    (table,) = tables_of(rows_of(make_record("lucky", **hardly())))
    (row,) = table.rows
    assert row.normalised_score.value > 2
    assert row.set_apart == "the oracle is no better than random"
    assert row.as_json()["score_set_apart"] == row.set_apart
    cell = cells_of(row, table, " ")["normalised score"]
    assert (cell[0], cell[-1]) == ("(", ")")
    assert "⁵" in marks_of(row)
    assert any("⁵" in note and row.set_apart in note for note in notes_of(table))


def test_it_comes_last_by_score_and_keeps_its_place_by_return(make_record):
    apart = make_record("apart", skill=0.9, **hardly())
    sound = make_record("sound", skill=0.2)
    (table,) = tables_of(rows_of(apart, sound))

    def order(name):
        return [entry.head.method for entry in sorted_entries(table, choose_column(name)) if isinstance(entry, Row)]

    assert order("normalised_score") == order("score_iqm") == order("optimality_gap") == ["sound", "apart"]
    assert order("last_episodes") == ["apart", "sound"]


def test_a_comparison_without_sound_scores_goes_by_return(make_record):
    runs = [
        RunScores.from_record(make_record(method, skill=skill, **hardly()))
        for method, skill in (("a", 0.9), ("b", 0.2))
    ]
    (comparison,) = compare(runs, "a", "b")
    (pairing,) = comparison.pairings
    assert pairing.score_difference is None
    assert pairing.set_apart == pairing.as_json()["score_set_apart"] == "the oracle is no better than random"
    assert len(pairing.flagged_tasks) == 8
    assert comparison.decisive == pairing.difference


def test_the_headroom_score_by_hand(make_record):
    record = make_record(
        num_tasks=2,
        num_episodes=1,
        returns=[[-4.0], [-5.0]],
        episode_lengths=[[1], [1]],
        oracle=[-2.0, -4.0],
        blind_ceiling=[-6.0, -8.0],
    )
    (table,) = tables_of(rows_of(record))
    (row,) = table.rows
    assert row.statistics["headroom_score"].value == pytest.approx((2 / 4 + 3 / 4) / 2)
    assert [column.name for column in default_columns(table)][5:7] == ["normalised_score", "headroom_score"]
    assert ("floor", "blind ceiling", -7.0) in [(each.kind, each.name, each.value) for each in table.references]
    (other,) = tables_of(rows_of(make_record()))
    assert other.rows[0].statistics["headroom_score"] is None
    assert "headroom_score" not in [column.name for column in default_columns(other)]
    assert "blind ceiling" not in [each.name for each in other.references]


# --- Names as they are printed -------------------------------------------------------------------------------------------


@pytest.fixture
def settled(make_record):
    runs = [
        make_record("ad-mamba", variant={"method.context_length": 200, "method.sizes": [1, 2]}, run_id="long"),
        make_record("ad-mamba", variant={"method.context_length": 50}, run_id="short"),
        make_record("ad-mamba", variant={"train.width": 8}, run_id="x"),
        make_record("ad-mamba", variant={"method.width": 8}, run_id="y"),
        make_record("ad-dt", run_id="other"),
    ]
    return [RunScores.from_record(run) for run in runs]


@pytest.mark.parametrize(
    ("name", "run_id"),
    [
        ("ad-mamba (method.context_length=50)", "short"),
        ("ad-mamba¹ (method.context_length=50)", "short"),
        ("ad-mamba¹\n  context_length=50", "short"),
        ("ad-mamba¹² method.context_length=200 method.sizes=[1, 2]", "long"),
        ("ad-mamba method.width=8", "y"),
    ],
)
def test_compare_takes_the_name_that_a_table_prints(settled, name, run_id):
    (comparison,) = compare(settled, name, "ad-dt¹")
    expected = next(run.label for run in settled if run.run_id == run_id)
    assert (comparison.ours, comparison.theirs) == (expected, "ad-dt")


def test_a_printed_name_of_two_rows_is_refused(settled):
    with pytest.raises(UsageError, match="printed for 2 rows") as caught:
        compare(settled, "ad-mamba¹ width=8", "ad-dt")
    assert "train.width=8" in caught.value.hint
    with pytest.raises(UnknownNameError):
        compare(settled, "ad-mamba width=9", "ad-dt")
