"""The terminal's tables: nothing is cut off at any width, and names are text."""

from __future__ import annotations

import dataclasses
import io
import re
import time

import numpy as np
import pytest
from rich.console import Console

from icrl_leaderboards.analysis.statistics.intervals import Estimate, Interval
from icrl_leaderboards.analysis.statistics.measures import MEASURES, Measure
from icrl_leaderboards.analysis.summary import Row, group_runs, tables_of
from icrl_leaderboards.runs.scores import RunScores
from icrl_leaderboards.terminal.tables import print_leaderboard
from icrl_leaderboards.wording.columns import COLUMNS, choose_column, seeds_text, sorted_entries
from icrl_leaderboards.wording.columns import _measured as measured
from icrl_leaderboards.wording.formatting import count, decimals_for, duration, number, with_interval


def printed(records, width):
    stream = io.StringIO()
    print_leaderboard(records, Console(file=stream, width=width, highlight=False, color_system=None))
    return stream.getvalue()


@pytest.fixture
def records(make_record):
    runs = [
        make_record(method, seed, skill=skill)
        for method, skill in (("ad-mamba", 0.7), ("ad-dt", 0.5))
        for seed in range(3)
    ]
    return [*runs, make_record(variant={"method.context_length": 200}, run_id="variant", skill=0.45)]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_every_number_is_there_at_every_width(records, width):
    text = printed(records, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for shown in (
        "reacher-goal-v1 · laptop-v0 · online",
        "oracle, greedy",
        "zero action",
        "random",
        "context_length=200",
    ):
        assert shown in text
    for value in ("−9.00", "−12.50", "−2.00", "130 k", "1.05 M", "25 k", "23.4 min", "0–2"):
        assert value in text
    assert len(re.findall(r"\[−?\d+\.\d\d, −?\d+\.\d\d\]", text)) == 6  # improvement and score of three rows
    assert "¹ one seed: the interval is over tasks only" in text


def test_a_wide_terminal_gets_one_table_and_a_narrow_one_two(records):
    assert printed(records, 160).count("method  ") == 1
    assert printed(records, 80).count("method  ") == 2


def test_floors_and_oracle_stand_among_the_methods(records):
    order = re.findall(
        r"^(oracle, greedy|oracle|ad-mamba|ad-dt|zero action|random)", printed(records, 160), re.MULTILINE
    )
    assert order == ["oracle, greedy", "oracle", "ad-mamba", "ad-dt", "ad-mamba", "zero action", "random"]


def test_environments_protocols_and_tracks_have_tables_of_their_own(make_record):
    text = printed([make_record(), make_record(protocol="smoke-v1"), make_record(track="offline", run_id="x")], 160)
    assert text.count("method  ") == 3


@pytest.mark.parametrize("width", [80, 160])
def test_hostile_names_are_printed_as_text(make_record, hostile_name, width):
    record = make_record(
        method=hostile_name,
        environment=hostile_name,
        protocol=hostile_name,
        variant={f"method.{hostile_name[:50]}": hostile_name},
        task_labels=[f"{hostile_name}{index}" for index in range(10)],
        oracle=[None, *[-2.0] * 9],
        run_id="x",
    )
    text = printed([record], width)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", text)
    assert len(text.splitlines()) < 60
    if hostile_name.isascii() and hostile_name.isprintable() and 0 < len(hostile_name) < 20:
        assert hostile_name in text


def test_an_empty_leaderboard_says_what_to_type():
    assert "icrl-bench run" in printed([], 80)


def test_numbers_are_written_for_readers():
    assert number(-1234.5, 1) == "−1,234.5"
    assert number(0.5, 2, signed=True) == "+0.50"
    assert number(-0.0001, 2) == "0.00"
    assert number(None, 2) == number(float("nan"), 2) == "–"
    assert [decimals_for([size]) for size in (0.1, 5, 50, 500, 5000)] == [3, 2, 2, 1, 0]
    assert [count(value) for value in (12, 999, 999.6, 130_000, 5_840_000, 2e9)] == [
        "12",
        "999",
        "1 k",
        "130 k",
        "5.84 M",
        "2 G",
    ]
    assert [duration(value) for value in (0.25, 41, 123, 3000, 7200)] == ["0.25 s", "41 s", "2.05 min", "50 min", "2 h"]
    estimate = Estimate(1.0, Interval(0.5, 2.0, ("tasks",)))
    assert with_interval(estimate, 1, signed=True) == "+1.0 [0.5, 2.0]"
    assert with_interval(Estimate(1.0), 1) == "1.0"
    assert with_interval(None, 1) == "–"


def test_seeds_are_named_or_counted():
    assert [seeds_text(seeds) for seeds in ((0,), (0, 1), (0, 1, 2), (0, 2, 5), (0, *range(2, 12)))] == [
        "0",
        "0, 1",
        "0–2",
        "0, 2, 5",
        "11 seeds",
    ]


def test_a_thousand_rows_are_shown_in_a_moment(make_record):
    run = RunScores.from_record(make_record())
    generator = np.random.default_rng(0)
    runs = [
        dataclasses.replace(
            run,
            run_id=f"run-{index}",
            seed=index % 5,
            variant={"method.x": index // 5},
            returns=run.returns + generator.normal(size=run.returns.shape),
        )
        for index in range(5000)
    ]
    console = Console(file=io.StringIO(), width=80)
    start = time.process_time()
    print_leaderboard(runs, console, limit=30)
    assert time.process_time() - start < 3  # about 0.3 s on one core of 2025
    assert "970 more rows: --limit 60 shows more, --limit 0 all" in console.file.getvalue()


def test_columns_that_do_not_fit_go_into_further_tables(records):
    stream = io.StringIO()
    print_leaderboard(records, Console(file=stream, width=80), columns=list(COLUMNS), sort="score_iqm")
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    for column in COLUMNS.values():
        assert column.label.split()[0] in text
    assert "…" not in text
    rows = re.findall(r"^(ad-mamba¹?|ad-dt) ", text, re.MULTILINE)
    assert rows[:3] == ["ad-mamba", "ad-dt", "ad-mamba¹"]


def test_rows_are_sorted_by_what_was_asked_for(make_record):
    cheap = make_record("cheap", parameters=10, skill=0.2)
    (table,) = tables_of(group_runs([RunScores.from_record(each) for each in (make_record("costly"), cheap)]))

    def order(name):
        return [entry.head.method for entry in sorted_entries(table, choose_column(name)) if isinstance(entry, Row)]

    assert order("last-episodes") == order("normalised_score") == order("regret") == ["costly", "cheap"]
    assert order("parameters") == ["cheap", "costly"]


def test_a_statistic_brings_its_decimals_and_its_sign(records, monkeypatch):
    """A share keeps two decimals beside returns that need none; a difference shows its sign, whatever its name."""
    share = Measure("reached", "reached", "a share", lambda each: (each.last > 0) * 1.0, decimals=2, is_difference=True)
    plain = dataclasses.replace(share, decimals=None, is_difference=False)
    assert (share.decimals_in(0), plain.decimals_in(0)) == (2, 0)
    assert dataclasses.replace(plain, normalised=True).decimals_in(0) == 2
    (table,) = tables_of(group_runs([RunScores.from_record(each) for each in records]))
    row = table.rows[0]
    monkeypatch.setitem(MEASURES, "reached", share)
    row.statistics["reached"] = Estimate(0.5)
    assert measured("reached").text(row, 0, " ") == "+0.50"
    monkeypatch.setitem(MEASURES, "reached", plain)
    assert measured("reached").text(row, 1, " ") == "0.5"


def test_other_numbers_of_episodes_are_named(make_record):
    text = printed([make_record(), make_record("source", num_episodes=400)], 160)
    assert "50 episodes (source 400, each taken over its own)" in " ".join(text.split())
