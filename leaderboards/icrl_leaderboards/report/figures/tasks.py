"""Strip plots: for every task each seed's return at the end of its budget, among the task's floors and its oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from icrl_leaderboards.analysis.statistics import last_episodes
from icrl_leaderboards.analysis.summary import Row, Table
from icrl_leaderboards.drawing import AXIS, INK, MUTED
from icrl_leaderboards.report.figures import FigureData
from icrl_leaderboards.report.figures.adaptation import MOST_CURVES, rivals, table_title
from icrl_leaderboards.report.figures.canvas import Axis, Canvas, write_ticks
from icrl_leaderboards.report.figures.figure import Figure, Numbers, decimals
from icrl_leaderboards.report.scales import linear_ticks, widen
from icrl_leaderboards.report.styles import brief_label, cut, series_name
from icrl_leaderboards.wording.cells import table_decimals
from icrl_leaderboards.wording.formatting import number
from icrl_leaderboards.wording.text import shorten
from icrl_registry.arrays import Float64Array

MOST_TASKS = 60  # strips in a drawing; the numbers behind it have every task
_WIDTH, _STRIP = 4.4, 0.2
_FAR = 1.5
_REFERENCES = ("random", "zero_action", "oracle")
_FOOTNOTE = "dot: a seed; long tick: oracle; short ticks: random and zero action"


def figures(data: FigureData) -> list[Figure]:
    """Raw returns of the last 10 % of the episodes, one dot a seed, one strip a task."""
    rows = rivals(data.table)[:MOST_CURVES]
    tasks = rows[0].head.task_labels
    ends = [np.stack([last_episodes(run.returns) for run in row.runs]) for row in rows]  # (N, K) each
    references = {each: _reference(rows, each) for each in _REFERENCES}
    low, high = _range(ends, references)
    beyond = any((values < low).any() or (values > high).any() for values in references.values())
    more = f"the first {MOST_TASKS} of {len(tasks)} tasks" if len(tasks) > MOST_TASKS else ""
    size = (_WIDTH, 0.9 + _STRIP * min(len(tasks), MOST_TASKS))
    return [
        Figure(
            f"{data.name}-tasks",
            "Return by task",
            table_title(data.table),
            _describe(rows, ends, references),
            "; ".join(filter(None, ["A floor far outside is left out" if beyond else "", more])),
            _numbers(data.table, rows, ends, references),
            size,
            lambda canvas: _draw(canvas, data, rows, ends, references),
            [_FOOTNOTE],
        )
    ]


def _draw(
    canvas: Canvas,
    data: FigureData,
    rows: Sequence[Row],
    ends: Sequence[Float64Array],
    references: Mapping[str, Float64Array],
) -> None:
    labels = [cut(label, 30) for label in rows[0].head.task_labels[:MOST_TASKS]]
    canvas.key([(brief_label(row), data.styles[row.label], series_name(row)) for row in rows])
    low, high = _range(ends, references)
    ticks = linear_ticks(low, high, 6)
    strips = range(len(labels))
    y = Axis(len(labels) - 0.5, -0.5, strips, lambda place: canvas.fitted(labels[int(place)], 1.4), "")
    canvas.frame(Axis(low, high, ticks, write_ticks(ticks), "return, last 10 % of the episodes"), y)
    canvas.axes.grid(visible=False, axis="y")
    canvas.axes.grid(visible=True, axis="x")
    canvas.axes.yaxis.set_inverted(True)
    for strip in strips[1::2]:
        canvas.axes.axhspan(strip - 0.5, strip + 0.5, color=MUTED, alpha=0.07, linewidth=0, zorder=0.5)
    for name, values in references.items():
        half, colour = (0.37, INK) if name == "oracle" else (0.21, AXIS)
        for strip in strips:
            if low <= values[strip] <= high:
                place = [values[strip]] * 2, [strip - half, strip + half]
                canvas.axes.plot(*place, color=colour, linewidth=1.3, zorder=2)
    for position, (row, values) in enumerate(zip(rows, ends, strict=True)):
        offset = (position - (len(rows) - 1) / 2) * min(0.18, 0.64 / len(rows))
        shown = values[:, : len(labels)]
        heights = np.broadcast_to(np.arange(len(labels)) + offset, shown.shape)
        colour, gid = data.styles[row.label].colour_code, canvas.gid(series_name(row))
        style = {"marker": "o", "linestyle": "", "markersize": 4, "markeredgewidth": 0, "alpha": 0.8}
        canvas.axes.plot(shown.ravel(), heights.ravel(), color=colour, gid=gid, zorder=3, **style)


def _reference(rows: Sequence[Row], name: str) -> Float64Array:
    """(K,) mean over the runs that have the reference; NaN where none has."""
    values = np.stack([run.references[name] for row in rows for run in row.runs])  # (N, K)
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _range(ends: Sequence[Float64Array], references: Mapping[str, Float64Array]) -> tuple[float, float]:
    """The range of the dots and oracles, widened to the floors where these are not far off."""
    oracle = references["oracle"][~np.isnan(references["oracle"])]
    joined = np.concatenate([*(each.ravel() for each in ends), oracle])
    low, high = float(joined.min()), float(joined.max())
    reach = _FAR * ((high - low) or max(abs(high), 1.0))
    floors = np.concatenate([references["random"], references["zero_action"]])
    near = floors[(floors >= low - reach) & (floors <= high + reach)]
    return widen(min([low, *near.tolist()]), max([high, *near.tolist()]), 0.03)


def _describe(rows: Sequence[Row], ends: Sequence[Float64Array], references: Mapping[str, Float64Array]) -> str:
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


def _numbers(
    table: Table, rows: Sequence[Row], ends: Sequence[Float64Array], references: Mapping[str, Float64Array]
) -> Numbers:
    columns = [*references.values(), *(values.mean(axis=0) for values in ends)]
    lines = tuple(zip(rows[0].head.task_labels, *(column.tolist() for column in columns), strict=True))
    header = ("task", *(each.replace("_", " ") for each in _REFERENCES), *(row.label for row in rows))
    writers = (decimals(table_decimals(table)),) * len(header)
    return Numbers("Raw return of the last 10 % of the episodes, mean over seeds", header, lines, writers)
