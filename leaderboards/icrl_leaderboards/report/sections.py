"""What a report says about one environment, protocol and track, before it becomes Markdown or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icrl_leaderboards import statistics
from icrl_leaderboards.statistics.bootstrap import INTERVAL_SEED, Estimate, stratified_interval, two_level_interval
from icrl_leaderboards.records import RunRecord
from icrl_leaderboards.report.curves import CurvePlot, LineStyle, curve_plot, line_styles
from icrl_leaderboards.scores import RunScores
from icrl_leaderboards.summary import Row, Table, group_runs, tables_of


@dataclass(frozen=True)
class Aggregate:
    """One aggregate of the normalised score, with the two kinds of interval."""

    name: str
    two_level: Estimate
    stratified: Estimate


@dataclass(frozen=True, eq=False)
class Section:
    """One table of results with its plot and its runs."""

    anchor: str
    table: Table
    plot: CurvePlot
    styles: dict[str, LineStyle]
    runs: tuple[RunRecord, ...]  # in the order of the rows, then by seed; older runs of a seed last


def make_sections(runs: Sequence[RunRecord]) -> list[Section]:
    """The sections of a report, in the order of their names."""
    records = {run.run_id: run for run in runs}
    rows = group_runs([RunScores.from_record(run) for run in runs])
    styles = line_styles(rows)
    sections = []
    for index, table in enumerate(tables_of(rows)):
        chosen = [run.run_id for row in table.rows for run in row.runs]
        older = [run_id for row in table.rows for run_id in row.superseded]
        members = tuple(records[run_id] for run_id in [*chosen, *older])
        sections.append(Section(f"results-{index + 1}", table, curve_plot(table, styles), styles, members))
    return sections


def aggregates_of(row: Row) -> list[Aggregate]:
    """Mean, median, IQM and optimality gap of a row's normalised scores; empty where no task has a scale."""
    scores = row.scores
    if not scores.size:
        return []
    aggregates = []
    for name, statistic in statistics.AGGREGATES.items():
        value = float(statistic(scores))
        generators = [np.random.default_rng([INTERVAL_SEED, kind, *scores.shape]) for kind in range(2)]
        two_level = Estimate(value, two_level_interval(scores, statistic, generators[0]))
        stratified = Estimate(value, stratified_interval(scores, statistic, generators[1]))
        aggregates.append(Aggregate(name, two_level, stratified))
    return aggregates


def last_by_task(row: Row) -> list[float]:
    """Raw return of the last 10 %, mean over seeds, for each task."""
    return [float(value) for value in statistics.last_episodes(row.returns).mean(axis=0)]
