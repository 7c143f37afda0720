"""The report as one HTML page that needs nothing else: no script, no network, and a policy that forbids both.

The content security policy allows exactly one thing, the page's own style sheet, by its hash. Everything that came from a
run goes through jinja2's autoescape, and through `text.visible` before it, so names and values are shown and never run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from icrl_leaderboards.cells import (
    COST_COLUMNS,
    RESULT_COLUMNS,
    cells_of,
    marks_of,
    notes_of,
    settings_of,
    table_decimals,
)
from icrl_leaderboards.formatting import count, duration, number, with_interval
from icrl_leaderboards.report.curves import COLOURS, CurvePlot, LineStyle
from icrl_leaderboards.report.plots import draw_svg
from icrl_leaderboards.report.sections import Section, aggregates_of, last_by_task
from icrl_leaderboards.report.svg import for_page
from icrl_leaderboards.summary import Reference, Row
from icrl_leaderboards.text import shorten, visible
from icrl_registry.hooks import ReportSection

_BAR_WIDTH, _BAR_HEIGHT = 120, 16


def render_html(sections: Sequence[Section], extra: Sequence[ReportSection], headline: str) -> str:
    """The page."""
    environment = _environment()
    style = environment.get_template("style.css").render(colours=list(enumerate(COLOURS)))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = environment.get_template("index.html.j2")
    return page.render(
        style=Markup(style),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        sections=[_view(section) for section in sections],
        extra=[{"title": each.title, "body": _from_markdown(each.body)} for each in extra],
        headline=headline,
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("icrl_leaderboards.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": lambda text: shorten(text, 60), "shown": visible, "json_lines": _json_lines}
    return environment


def _view(section: Section) -> dict[str, Any]:
    """What the template shows of a section: text and drawings only."""
    table = section.table
    entries = [_entry(entry, section) for entry in table.ranked]
    return {
        "anchor": section.anchor,
        "environment": table.environment,
        "protocol": table.protocol,
        "track": table.track,
        "plot": _drawing(section),
        "legend": [{"label": curve.label, "swatch": swatch(curve.style)} for curve in section.plot.curves],
        "result_columns": RESULT_COLUMNS,
        "cost_columns": COST_COLUMNS,
        "entries": entries,
        "notes": notes_of(table),
        "aggregates": _aggregates(table.rows),
        "tasks": _tasks(section),
        "numbers": _numbers(section.plot),
        "runs": [_run(record) for record in section.runs],
    }


# --- Tables --------------------------------------------------------------------------------------------------------------


def _entry(entry: Row | Reference, section: Section) -> dict[str, Any]:
    cells = cells_of(entry, section.table, " ")
    if isinstance(entry, Reference):
        return {"reference": True, "name": entry.name, "cells": cells}
    name = entry.head.method
    style = section.styles[entry.label]
    return {
        "reference": False,
        "name": name,
        "marks": "".join(marks_of(entry)),
        "settings": settings_of(entry),
        "cells": cells,
        "swatch": swatch(style),
        "bar": score_bar(entry, section.table.rows, style),
    }


def _aggregates(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One line per row that has normalised scores: each aggregate with both intervals."""
    lines = []
    for row in rows:
        aggregates = aggregates_of(row)
        if aggregates:
            cells = {
                each.name: (with_interval(each.two_level, 3), with_interval(each.stratified, 3)) for each in aggregates
            }
            lines.append({"label": row.label, "cells": cells, "stratified": len(row.seeds) > 1})
    return lines


def _tasks(section: Section) -> dict[str, Any]:
    """Raw returns of the last 10 % per task, beside the task's floors and oracle in the first row's first run."""
    table = section.table
    decimals = table_decimals(table)
    head = table.rows[0].head
    references = {"random": head.random, "zero action": head.zero_action, "oracle": head.oracle}
    rows = [row for row in table.rows if row.head.task_labels == head.task_labels]
    columns = [last_by_task(row) for row in rows]
    lines = []
    for index, label in enumerate(head.task_labels):
        values = [values[index] for values in references.values()] + [column[index] for column in columns]
        lines.append({"label": label, "values": [number(float(value), decimals) for value in values]})
    return {"references": list(references), "methods": [row.label for row in rows], "lines": lines}


def _numbers(plot: CurvePlot) -> list[list[str]]:
    """Episode, then each curve's mean and band."""
    lines = []
    for episode in range(plot.num_episodes):
        line = [str(episode + 1)]
        for curve in plot.curves:
            if episode >= len(curve.mean):
                line.append("")
                continue
            text = number(float(curve.mean[episode]), 3)
            if curve.low is not None and curve.high is not None:
                text += f" [{number(float(curve.low[episode]), 3)}, {number(float(curve.high[episode]), 3)}]"
            line.append(text)
        lines.append(line)
    return lines


def _run(record: Any) -> dict[str, Any]:
    facts = {
        "run": record.run_id,
        "method": record.method,
        "backbone": record.backbone or "none",
        "environment": record.environment,
        "protocol": f"{record.protocol}, {record.track}",
        "seed": str(record.seed),
        "recorded": record.created_at,
        "parameters": f"{record.parameters:,} ({count(record.parameters)})",
        "environment steps": ", ".join(
            f"{stage} {getattr(record, f'{stage}_env_steps'):,}" for stage in ("collect", "train", "adapt")
        ),
        "time": ", ".join(f"{name} {duration(value)}" for name, value in record.seconds.items()),
        "checkpoint": record.checkpoint,
        "dataset": record.dataset,
    }
    return {
        "summary": f"{record.method}, seed {record.seed}",
        "run_id": record.run_id,
        "facts": facts,
        "plugins": record.plugins,
        "documents": [
            (name, getattr(record, name))
            for name in ("variant", "config", "provenance", "diagnostics")
            if getattr(record, name)
        ],
    }


def _json_lines(value: Any) -> str:
    """A JSON value, indented, with every invisible character shown by its code."""
    lines = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).split("\n")
    return "\n".join(visible(line) for line in lines)


def _from_markdown(body: str) -> Markup:
    """Markdown as HTML in which no HTML of the author's, no image and no script address survives."""
    lines = "\n".join(visible(line) for line in body.splitlines())
    return Markup(MarkdownIt("js-default").disable("image").render(lines))


# --- Drawings ------------------------------------------------------------------------------------------------------------


def _drawing(section: Section) -> Markup:
    plot = section.plot
    title = f"Adaptation curves: {shorten(plot.title, 120)}"
    return Markup(for_page(draw_svg(plot), section.anchor, title, describe(plot)))


def describe(plot: CurvePlot) -> str:
    """The plot in words: where each curve begins and ends, and the lines it is seen against."""
    sentences = [f"Mean return per episode over seeds and tasks, {plot.num_episodes} episodes."]
    for curve in plot.curves:
        first, last = number(float(curve.mean[0]), 2), number(float(curve.mean[-1]), 2)
        sentences.append(f"{shorten(curve.label, 60)} goes from {first} to {last}.")
    sentences += [f"{each.name}: {number(each.value, 2)}." for each in plot.references]
    return " ".join(sentences)


def swatch(style: LineStyle) -> Markup:
    """A short piece of a method's line."""
    dashes = " ".join(f"{2.4 * length:g}" for length in style.dashes)
    attribute = f' stroke-dasharray="{dashes}"' if dashes else ""
    line = f'<line x1="1" x2="25" y1="5" y2="5" stroke-width="2.4"{attribute} class="stroke-line-{style.colour}"/>'
    return Markup(f'<svg class="swatch" viewBox="0 0 26 10" aria-hidden="true">{line}</svg>')


def score_bar(row: Row, rows: Sequence[Row], style: LineStyle) -> Markup:
    """The normalised score and its interval between 0 (random) and 1 (oracle); all rows of a table share the scale."""
    if row.normalised_score is None:
        return Markup("")
    ends = [0.0, 1.0]
    for each in rows:
        if each.normalised_score is not None:
            score = each.normalised_score
            ends += [score.value] + ([score.interval.low, score.interval.high] if score.interval else [])
    low, high = min(ends), max(ends)

    def x(value: float) -> str:
        return f"{4 + (value - low) / (high - low) * (_BAR_WIDTH - 8):.1f}"

    middle = _BAR_HEIGHT / 2
    parts = [f'<line x1="{x(0)}" x2="{x(1)}" y1="{middle}" y2="{middle}" class="stroke-grid" stroke-width="4"/>']
    parts += [f'<line x1="{x(end)}" x2="{x(end)}" y1="3" y2="13" class="stroke-muted"/>' for end in (0, 1)]
    colour = f"line-{style.colour}"
    score = row.normalised_score
    if score.interval is not None:
        line = f'x1="{x(score.interval.low)}" x2="{x(score.interval.high)}" y1="{middle}" y2="{middle}"'
        parts.append(f'<line {line} class="stroke-{colour}" stroke-width="2"/>')
    parts.append(f'<circle cx="{x(score.value)}" cy="{middle}" r="3.6" class="fill-{colour}"/>')
    box = f'viewBox="0 0 {_BAR_WIDTH} {_BAR_HEIGHT}"'
    return Markup(f'<svg class="bar" {box} aria-hidden="true">{"".join(parts)}</svg>')
