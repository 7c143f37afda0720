"""The report as one HTML page that needs nothing else: no network, and a policy that forbids it.

The content security policy allows exactly two things, the page's own style sheet and its own script, each by its hash. The
script is the same for every report and holds no data; it sorts and filters what is there, and the page is complete without
it. Everything that came from a run goes through jinja2's autoescape or the XML serialiser of `drawing.to_svg`, and through
`text.visible` before it, so names and values are shown and never run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from icrl_leaderboards.analysis.statistics.intervals import Estimate
from icrl_leaderboards.analysis.statistics.measures import DESCRIPTIONS, EPISODES_TO_ORACLE, MEASURES, measure
from icrl_leaderboards.analysis.summary import Reference, Row, Table
from icrl_leaderboards.drawing import glyphs_of, palette, without_glyphs
from icrl_leaderboards.report.figures.figure import Figure
from icrl_leaderboards.report.marks import score_bar, swatch
from icrl_leaderboards.report.ranking import Ranked, probabilities_of_improvement, rank_methods
from icrl_leaderboards.report.runs import run_view
from icrl_leaderboards.report.sections import MOST_MEASURED, MOST_ROWS, ReportBoard, Section
from icrl_leaderboards.report.styles import NAME_LIMIT
from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.runs.training import TrainingLog
from icrl_leaderboards.wording.cells import (
    COST_COLUMNS,
    RESULT_COLUMNS,
    cells_of,
    marks_of,
    notes_of,
    settings_of,
    table_decimals,
)
from icrl_leaderboards.wording.certificates import certificate_entries
from icrl_leaderboards.wording.controls import control_cell, control_columns, control_notes
from icrl_leaderboards.wording.formatting import MISSING, count, interval, with_interval
from icrl_leaderboards.wording.text import shorten, visible
from icrl_registry.hooks import ReportSection

RunViews = Mapping[str, Mapping[str, Any]]
"""The fold-outs of runs, by run id."""

#: Runs without a fold-out that a section still lists, newest first.
MOST_LISTED = 1000


def render_html(
    boards: Sequence[ReportBoard],
    records: Mapping[str, RunRecord],
    extra: Sequence[ReportSection],
    headline: str,
    trainings: Mapping[str, TrainingLog] | None = None,
    settings: Mapping[str, str] | None = None,
) -> str:
    """The page; a run has a fold-out if `records` has it, with what `trainings` and `settings`, by run id, know of it."""
    runs = {
        run_id: run_view(record, (trainings or {}).get(run_id), (settings or {}).get(run_id))
        for run_id, record in records.items()
    }
    environment = _environment()
    style = page_style()
    script = environment.get_template("script.js").render()
    policy = (
        f"default-src 'none'; style-src {_hash_source(style)}; script-src {_hash_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("index.html.j2").render(
        style=Markup(style),
        script=Markup(script),
        policy=policy,
        letters=Markup("".join(_letters(boards))),
        boards=[_board(board, runs) for board in boards],
        choices=_choices(boards),
        extra=[{"title": each.title, "body": _from_markdown(each.body)} for each in extra],
        headline=headline,
    )


@cache
def page_style() -> str:
    """The page's style sheet. It overrides the literal colours of the figures, so that they follow the page into the dark."""
    return _environment().get_template("style.css").render(colours=palette())


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("icrl_leaderboards.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "short": lambda text: shorten(text, NAME_LIMIT),
        "shown": visible,
        "json_lines": _json_lines,
    }
    return environment


def _hash_source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _letters(boards: Sequence[ReportBoard]) -> list[str]:
    """The outlines of all letters of the page's figures, each once."""
    sections = [section for board in boards for section in board.sections]
    drawn = [each for s in sections for each in (s.small, *s.figures, *s.sweeps, *s.costs)]
    glyphs = {name: path for figure in drawn for name, path in glyphs_of(figure.svg).items()}
    return [glyphs[name] for name in sorted(glyphs)]


def _choices(boards: Sequence[ReportBoard]) -> dict[str, list[str]]:
    """What the page's filter offers."""
    return {
        "environment": sorted({section.table.environment for board in boards for section in board.sections}),
        "protocol": sorted({board.protocol for board in boards}),
        "track": sorted({board.track for board in boards}),
    }


# --- What the template shows: text and drawings only ---------------------------------------------------------------------


def _board(board: ReportBoard, runs: RunViews) -> dict[str, Any]:
    ranking = rank_methods([section.table for section in board.sections]) if len(board.sections) > 1 else []
    styles = board.sections[0].styles
    return {
        "anchor": board.anchor,
        "protocol": board.protocol,
        "track": board.track,
        "changes": board.changes,
        "ranking": [_ranked(entry, swatch(styles[entry.style_label])) for entry in ranking[:MOST_ROWS]],
        "sections": [_section(section, runs) for section in board.sections],
    }


def _ranked(entry: Ranked, mark: Markup) -> dict[str, Any]:
    parameters = sorted({row.head.parameters for row in entry.rows if row is not None})
    sizes = [count(each) for each in dict.fromkeys((parameters[0], parameters[-1]))]
    return {
        "name": entry.method,
        "swatch": mark,
        "marks": "",
        "settings": [],
        "reference": entry.reference,
        "overall": with_interval(entry.overall, 2),
        "cells": [MISSING if row is None else with_interval(row.normalised_score, 2) for row in entry.rows],
        "parameters": "–".join(dict.fromkeys(sizes)),
    }


def _section(section: Section, runs: RunViews) -> dict[str, Any]:
    table = section.table
    shown = _shown(section)
    listed = [run for run in section.runs if run.run_id not in runs]
    newest = sorted(listed, key=lambda run: (run.created_at, run.run_id), reverse=True)[:MOST_LISTED]
    return {
        "anchor": section.anchor,
        "environment": table.environment,
        "certificate": certificate_entries(section.certificate) if section.certificate else [],
        "small": Markup(without_glyphs(section.small.svg)),
        "figures": [_figure(each) for each in section.figures],
        "sweeps": [_figure(each) for each in section.sweeps],
        "costs": [_figure(each) for each in section.costs],
        "result_columns": [*RESULT_COLUMNS, *control_columns(table.rows, section.controls)],
        "cost_columns": COST_COLUMNS,
        "entries": [_entry(entry, section) for entry in shown],
        "notes": [*notes_of(table), *control_notes(table.rows, section.controls), *_left_out(table.rows)],
        "measured": _measured(table),
        "duels": _duels(table),
        "num_runs": f"{len(section.runs):,}",
        "runs": [runs[run.run_id] for run in section.runs if run.run_id in runs],
        "other_runs": newest,
        "other_runs_note": _listed_note(len(listed), len(newest)),
    }


def _shown(section: Section) -> list[Row | Reference]:
    rows = {id(row) for row in section.table.rows[:MOST_ROWS]}
    return [entry for entry in section.table.ranked if isinstance(entry, Reference) or id(entry) in rows]


def _left_out(rows: Sequence[Row]) -> list[str]:
    hidden = len(rows) - MOST_ROWS
    return [f"{hidden:,} rows ranked below these are left out of this page"] if hidden > 0 else []


def _listed_note(others: int, listed: int) -> str:
    """What became of the runs without a fold-out."""
    note = f"The newest runs of the report have a fold-out; {others:,} older ones here are listed without"
    return f"{note}, {others - listed:,} of them only counted." if others > listed else f"{note}."


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "heading": figure.heading,
        "svg": Markup(without_glyphs(figure.svg)),
        "caption": figure.caption,
        "numbers": figure.numbers,
    }


def _entry(entry: Row | Reference, section: Section) -> dict[str, Any]:
    cells = cells_of(entry, section.table, " ")
    if isinstance(entry, Reference):
        return {"reference": True, "name": entry.name, "cells": cells}
    style = section.styles[entry.label]
    return {
        "reference": False,
        "name": entry.head.method,
        "marks": "".join(marks_of(entry)),
        "settings": settings_of(entry),
        "cells": {**cells, **control_cell(entry, section.controls)},
        "swatch": swatch(style),
        "bar": score_bar(entry, section.table.rows, style),
    }


def _measured(table: Table) -> dict[str, Any]:
    """Every statistic of the best rows with both intervals, and what the statistics are."""
    decimals = table_decimals(table)
    rows = table.rows[:MOST_MEASURED]
    lines = []
    for row, estimates in zip(rows, measure([row.outcome for row in rows]), strict=True):
        cells = []
        for name in DESCRIPTIONS:
            estimate = estimates[name]
            digits = 0 if name == EPISODES_TO_ORACLE else MEASURES[name].decimals_in(decimals)
            beside = interval(Estimate(0.0, estimate.stratified), digits) if estimate is not None else ""
            never = estimate is not None and np.isinf(estimate.value)  # nothing else is ever infinite
            cells.append(("never" if never else with_interval(estimate, digits), beside))
        lines.append({"method": row.head.method, "label": row.label, "cells": cells})
    labels = {name: MEASURES[name].label if name in MEASURES else name.replace("_", " ") for name in DESCRIPTIONS}
    return {"labels": [(labels[name], said) for name, said in DESCRIPTIONS.items()], "lines": lines}


def _duels(table: Table) -> list[dict[str, Any]]:
    """The probability that a run of the row's method beats one of the column's; empty where there is one method."""
    rows, probabilities = probabilities_of_improvement(table)
    if len(rows) < 2:
        return []
    cells = [["" if each is None else with_interval(each, 2) for each in line] for line in probabilities]
    return [
        {"method": row.head.method, "label": row.label, "cells": line} for row, line in zip(rows, cells, strict=True)
    ]


def _json_lines(value: Any) -> str:
    """A JSON value, indented, with every invisible character shown by its code."""
    lines = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).split("\n")
    return "\n".join(visible(line) for line in lines)


def _from_markdown(body: str) -> Markup:
    """Markdown as HTML in which no HTML of the author's, no image and no script address survives."""
    lines = "\n".join(visible(line) for line in body.splitlines())
    return Markup(MarkdownIt("js-default").disable("image").render(lines))
