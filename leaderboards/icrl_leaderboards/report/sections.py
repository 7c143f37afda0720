"""What a report says, before it becomes Markdown or HTML: boards of rows that may be ranked together, and their tables."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count

from icrl_leaderboards.analysis.summary import Table, group_runs, tables_of, track_order
from icrl_leaderboards.report.cost_figures import cost_figures
from icrl_leaderboards.report.curve_figures import curve_figure
from icrl_leaderboards.report.curves import episode_plot, steps_plot
from icrl_leaderboards.report.figures import Figure
from icrl_leaderboards.report.profile_figures import profile_figure
from icrl_leaderboards.report.setting_figures import sweep_figures, sweeps_of
from icrl_leaderboards.report.styles import LineStyle, line_styles
from icrl_leaderboards.report.task_figures import strip_figure
from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.runs.scores import RunScores

#: Rows of a table that the report lists; the others are counted.
MOST_ROWS = 400
#: Tables (environment, protocol and track) in a report; of more, those with the newest runs are shown.
MOST_TABLES = 60
#: Rows of which every statistic is shown.
MOST_MEASURED = 50
#: Characters of an environment's, a protocol's or a track's name that a link keeps.
LONGEST_PART = 60


@dataclass(frozen=True, eq=False)
class Section:
    """One environment's results under one protocol and track, with its figures and its runs."""

    anchor: str
    table: Table
    styles: Mapping[str, LineStyle]
    small: Figure  # the adaptation curves, small, for the overview
    figures: tuple[Figure, ...]  # adaptation curves first
    costs: tuple[Figure, ...]
    sweeps: tuple[Figure, ...]
    runs: tuple[RunScores, ...]  # in the order of the rows, then by seed; older runs of a seed last


@dataclass(frozen=True, eq=False)
class Board:
    """The environments of one protocol and track: what an overall ranking may cover."""

    anchor: str
    protocol: str
    track: str
    sections: tuple[Section, ...]


def make_boards(runs: Sequence[RunScores], records: Mapping[str, RunRecord]) -> list[Board]:
    """The boards of a report, in the order of their names; `records` are those runs whose full records are at hand."""
    rows = group_runs(runs)
    styles = line_styles(rows)
    by_id = {run.run_id: run for run in runs}
    by_board: dict[tuple[str, str], list[Table]] = defaultdict(list)
    for table in newest_tables(tables_of(rows)):
        by_board[table.protocol, table.track].append(table)
    boards = []
    taken: set[str] = set()
    in_order = sorted(by_board.items(), key=lambda item: (item[0][0], track_order(item[0][1])))
    for index, ((protocol, track), tables) in enumerate(in_order):
        sections = []
        for table in tables:
            anchor = anchor_of(table, taken)
            taken.add(anchor)
            sections.append(_section(table, styles, records, by_id, anchor))
        boards.append(Board(f"board-{index + 1}", protocol, track, tuple(sections)))
    return boards


def newest_tables(tables: Sequence[Table]) -> list[Table]:
    """The tables that a report shows, in their order: all of them, or those with the newest runs."""
    newest = sorted(tables, key=lambda table: max(run.created_at for row in table.rows for run in row.runs))
    kept = {id(table) for table in newest[-MOST_TABLES:]}
    return [table for table in tables if id(table) in kept]


def anchor_of(table: Table, taken: Collection[str] = ()) -> str:
    """What links to a table and its plots' files are called, whatever other tables there are.

    Made of lower-case letters, digits and hyphens: `results-ant-dir-v1-laptop-v1-online`; numbered if it is `taken`.
    """
    parts = (table.environment, table.protocol, table.track)
    words = (re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")[:LONGEST_PART] for part in parts)
    anchor = "-".join(["results", *words])
    numbered = (f"{anchor}-{number}" for number in count(2))
    return next(name for name in chain([anchor], numbered) if name not in taken)


def _section(
    table: Table,
    styles: Mapping[str, LineStyle],
    records: Mapping[str, RunRecord],
    by_id: Mapping[str, RunScores],
    anchor: str,
) -> Section:
    episodes, steps = episode_plot(table, styles), steps_plot(table, styles, records)
    figures = [curve_figure(episodes, anchor)]
    if steps is not None:
        figures.append(curve_figure(steps, f"{anchor}-steps"))
    figures.append(strip_figure(table, styles, f"{anchor}-tasks"))
    profile = profile_figure(table, styles, f"{anchor}-profile")
    if profile is not None:
        figures.append(profile)
    configs = {run_id: record.config for run_id, record in records.items()}
    sweeps = [
        figure
        for index, sweep in enumerate(sweeps_of(table, configs))
        for figure in sweep_figures(table, sweep, f"{anchor}-sweep-{index + 1}")
    ]
    chosen = [run for row in table.rows for run in row.runs]
    older = [by_id[run_id] for row in table.rows for run_id in row.superseded]
    return Section(
        anchor=anchor,
        table=table,
        styles=styles,
        small=curve_figure(episodes, f"{anchor}-small", "small"),
        figures=tuple(figures),
        costs=tuple(cost_figures(table, styles, f"{anchor}-cost")),
        sweeps=tuple(sweeps),
        runs=(*chosen, *older),
    )
