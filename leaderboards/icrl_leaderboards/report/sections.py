"""What a report says, before it becomes Markdown or HTML: boards of rows that may be ranked together, and their tables."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Any

from icrl_leaderboards.analysis.controls import ControlRows
from icrl_leaderboards.analysis.summary import Table, group_runs, tables_of, track_order
from icrl_leaderboards.report.figures import FigureData, make_figures
from icrl_leaderboards.report.figures.adaptation import episode_plot
from icrl_leaderboards.report.figures.curves import curve_figure
from icrl_leaderboards.report.figures.figure import Figure
from icrl_leaderboards.report.styles import LineStyle, line_styles, styles_of_table
from icrl_leaderboards.runs.certificates import Certificate
from icrl_leaderboards.runs.record import RunRecord, format_value
from icrl_leaderboards.runs.scores import RunScores

Certificates = Mapping[tuple[str, str], Certificate]
"""Certificates by environment and protocol."""

#: Rows of a table that the report lists; the others are counted.
MOST_ROWS = 400
#: Tables (environment, protocol and track) in a report; of more, those with the newest runs are shown.
MOST_TABLES = 60
#: Rows of which every statistic is shown.
MOST_MEASURED = 50
#: Sections of a run's configuration that change what all methods are measured on, and with it the protocol's label; and
#: those of them that a configuration has only if something was asked for.
SHARED_SECTIONS = ("environment", "source", "collect", "train", "adapt")
ONLY_WHERE_ASKED_FOR = ("train",)
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
    certificate: Certificate | None = None  # of the environment under the protocol, where it was made
    controls: ControlRows = field(default_factory=dict)  # of its rows, where they were made


@dataclass(frozen=True, eq=False)
class ReportBoard:
    """The environments of one protocol and track: what an overall ranking may cover."""

    anchor: str
    protocol: str
    track: str
    sections: tuple[Section, ...]
    changes: str = ""  # in words, what the mark of the protocol's label stands for; empty without one


def make_boards(
    runs: Sequence[RunScores],
    records: Mapping[str, RunRecord],
    certificates: Certificates | None = None,
    controls: ControlRows | None = None,
) -> list[ReportBoard]:
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
            section = _section(table, styles_of_table(table, styles), records, by_id, anchor)
            found = (certificates or {}).get((table.environment, table.protocol))
            sections.append(replace(section, certificate=found, controls=controls or {}))
        changes = words_of_mark(protocol, [run for table in tables for row in table.rows for run in row.runs], records)
        boards.append(ReportBoard(f"board-{index + 1}", protocol, track, tuple(sections), changes))
    return boards


def words_of_mark(protocol: str, runs: Sequence[RunScores], records: Mapping[str, RunRecord]) -> str:
    """`laptop-v2 with adapt.switch_task = true`: what all methods share, beside a run of the protocol without the mark.

    Where no such run is at hand, only the settings that no protocol has unless they were asked for.
    """
    base, mark, _ = protocol.partition("+")
    marked = next((records[run.run_id] for run in runs if run.run_id in records), None)
    if not mark or marked is None:
        return ""
    like = (each for each in records.values() if (each.protocol, each.environment) == (base, marked.environment))
    plain = next(like, None)
    changed = [
        f"{section}.{key} = {format_value(value)}"
        for section in (SHARED_SECTIONS if plain else ONLY_WHERE_ASKED_FOR)
        for key, value in _settings(marked, section).items()
        if plain is None or _settings(plain, section).get(key) != value
    ]
    return f"{base} with {', '.join(changed)}" if changed else ""


def _settings(record: RunRecord, section: str) -> Mapping[str, Any]:
    settings = record.config.get(section)
    return settings if isinstance(settings, Mapping) else {}


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
    data = FigureData(table, styles, records, anchor)
    chosen = [run for row in table.rows for run in row.runs]
    older = [by_id[run_id] for row in table.rows for run_id in row.superseded]
    return Section(
        anchor=anchor,
        table=table,
        styles=styles,
        small=curve_figure(episode_plot(table, styles), f"{anchor}-small", "small"),
        figures=tuple(figure for kind in ("curves", "tasks", "profile") for figure in make_figures(kind, data)),
        costs=tuple(make_figures("cost", data)),
        sweeps=tuple(make_figures("setting", data)),
        runs=(*chosen, *older),
    )
