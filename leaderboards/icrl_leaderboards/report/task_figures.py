"""Strip plots: for every task each seed's return at the end of its budget, among the task's floors and its oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from icrl_leaderboards.analysis.statistics import FloatArray, last_episodes
from icrl_leaderboards.analysis.summary import Row, Table
from icrl_leaderboards.report.curves import MOST_CURVES, rivals, table_title
from icrl_leaderboards.report.drawing import Drawing, text_width
from icrl_leaderboards.report.figures import (
    LABEL_SIZE,
    Axis,
    Box,
    Figure,
    Numbers,
    draw_frame,
    draw_key,
    write_ticks,
)
from icrl_leaderboards.report.scales import Scale, linear_ticks, widen
from icrl_leaderboards.report.styles import LineStyle, brief_label, cut, series_name
from icrl_leaderboards.wording.cells import table_decimals
from icrl_leaderboards.wording.formatting import MISSING, number
from icrl_leaderboards.wording.text import shorten

MOST_TASKS = 60  # strips in a drawing; the table behind it has every task
_WIDTH, _STRIP = 420.0, 19.0
_FAR = 1.5
_REFERENCES = ("random", "zero_action", "oracle")


def strip_figure(table: Table, styles: Mapping[str, LineStyle], name: str) -> Figure:
    """Raw returns of the last 10 % of the episodes, one dot a seed, one strip a task."""
    rows = rivals(table)[:MOST_CURVES]
    head = rows[0].head
    ends = [np.stack([last_episodes(run.returns) for run in row.runs]) for row in rows]  # (N, K) each
    references = {each: _reference(rows, each) for each in _REFERENCES}
    shown = min(len(head.task_labels), MOST_TASKS)
    drawing = Drawing(_WIDTH, 0)
    key = [(brief_label(row), styles[row.label].fill, series_name(row)) for row in rows]
    top = draw_key(drawing, key, 0, 8) + 16
    drawing.height = top + _STRIP * shown + 40
    labels = [cut(label, 16) for label in head.task_labels[:shown]]
    left = max(text_width(label, LABEL_SIZE) for label in labels) + 10
    box = Box(left, top, _WIDTH - 8, top + _STRIP * shown)
    x = _draw_axes(drawing, box, labels, *_range(ends, references))
    for index in range(shown):
        middle = top + _STRIP * (index + 0.5)
        _draw_references(drawing, x, middle, {each: float(values[index]) for each, values in references.items()})
        for position, (row, values) in enumerate(zip(rows, ends, strict=True)):
            height = middle + (position - (len(rows) - 1) / 2) * min(3.4, 12.0 / len(rows))
            _draw_seeds(drawing, row, styles[row.label], x, height, values[:, index])
    numbers = _numbers(table, head.task_labels, rows, ends, references)
    said, caption = _describe(rows, ends, references), _caption(len(head.task_labels))
    return Figure(name, "Return by task", table_title(table), said, caption, drawing, numbers)


def _reference(rows: Sequence[Row], name: str) -> FloatArray:
    """(K,) mean over the runs that have the reference; NaN where none has."""
    values = np.stack([getattr(run, name) for row in rows for run in row.runs])  # (N, K)
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _range(ends: Sequence[FloatArray], references: Mapping[str, FloatArray]) -> tuple[float, float]:
    """The range of the dots and oracles, widened to the floors where these are not far off."""
    oracle = references["oracle"][~np.isnan(references["oracle"])]
    joined = np.concatenate([*(each.ravel() for each in ends), oracle])
    low, high = float(joined.min()), float(joined.max())
    reach = _FAR * ((high - low) or max(abs(high), 1.0))
    floors = np.concatenate([references["random"], references["zero_action"]])
    near = floors[(floors >= low - reach) & (floors <= high + reach)]
    return widen(min([low, *near.tolist()]), max([high, *near.tolist()]), 0.03)


def _draw_axes(drawing: Drawing, box: Box, labels: Sequence[str], low: float, high: float) -> Scale:
    x = Scale(low, high, box.left, box.right)
    ticks = linear_ticks(low, high, 6)
    for tick in ticks:
        drawing.line((x(tick), box.top), (x(tick), box.bottom), "stroke-grid")
    for index, label in enumerate(labels):
        height = box.top + _STRIP * (index + 0.5)
        if index % 2:
            drawing.area(
                [(box.left, height - _STRIP / 2), (box.right, height - _STRIP / 2)],
                [(box.left, height + _STRIP / 2), (box.right, height + _STRIP / 2)],
                "stripe",
            )
        drawing.text((box.left - 8, height), label, "fill-muted", "end")
    nothing = Axis(Scale(0, 1, box.bottom, box.top), (), str, "")
    draw_frame(drawing, box, Axis(x, ticks, write_ticks(ticks), "return, last 10 % of the episodes"), nothing)
    return x


def _draw_references(drawing: Drawing, x: Scale, middle: float, values: Mapping[str, float]) -> None:
    """A long tick at the oracle, short ones at the floors; a floor beyond the plot has none."""
    for name, value in values.items():
        if not np.isnan(value) and x.holds(value):
            half = 7.0 if name == "oracle" else 4.0
            classes = "oracle-tick" if name == "oracle" else "floor-tick"
            drawing.line((x(value), middle - half), (x(value), middle + half), classes)


def _draw_seeds(drawing: Drawing, row: Row, style: LineStyle, x: Scale, height: float, values: FloatArray) -> None:
    drawing.begin_group("series", series=series_name(row))
    for value in values:
        drawing.circle((x(float(value)), height), 2.8, f"dot {style.fill}")
    drawing.end_group()


def _describe(rows: Sequence[Row], ends: Sequence[FloatArray], references: Mapping[str, FloatArray]) -> str:
    tasks = ends[0].shape[1]
    sentences = [f"Return of the last 10 % of the episodes on {tasks} unseen tasks."]
    for row, values in zip(rows, ends, strict=True):
        by_task = values.mean(axis=0)
        worst, best = number(float(by_task.min()), 2), number(float(by_task.max()), 2)
        sentences.append(f"{shorten(row.label, 60)}: from {worst} on its worst task to {best} on its best.")
    if not np.isnan(references["oracle"]).all():
        low, high = np.nanmin(references["oracle"]), np.nanmax(references["oracle"])
        sentences.append(f"The oracle: from {number(float(low), 2)} to {number(float(high), 2)}.")
    return " ".join(sentences)


def _caption(tasks: int) -> str:
    more = f" The first {MOST_TASKS} of {tasks} tasks; the table has all." if tasks > MOST_TASKS else ""
    return (
        "One dot a seed, one strip a task. The long tick is the task's oracle, the short ones are random and zero action; "
        f"a floor far outside is left out.{more}"
    )


def _numbers(
    table: Table,
    labels: Sequence[str],
    rows: Sequence[Row],
    ends: Sequence[FloatArray],
    references: Mapping[str, FloatArray],
) -> Numbers:
    decimals = table_decimals(table)
    lines = []
    for index, label in enumerate(labels):
        floors = [float(references[each][index]) for each in _REFERENCES]
        means = [float(values[:, index].mean()) for values in ends]
        cells = [MISSING if np.isnan(value) else number(value, decimals) for value in (*floors, *means)]
        lines.append((label, *cells))
    names = [each.replace("_", " ") for each in _REFERENCES]
    header = ("task", *names, *(row.label for row in rows))
    return Numbers("Raw return of the last 10 % of the episodes, mean over seeds", header, tuple(lines))
