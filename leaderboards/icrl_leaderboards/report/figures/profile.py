"""Performance profiles: for every score the share of runs and tasks that are above it (Agarwal et al., 2021, section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icrl_leaderboards.analysis.statistics import performance_profile
from icrl_leaderboards.analysis.statistics.pairs import Profile, profile
from icrl_leaderboards.analysis.summary import Row
from icrl_leaderboards.drawing import AXIS
from icrl_leaderboards.report.figures import FigureData
from icrl_leaderboards.report.figures.adaptation import MOST_CURVES, principal_rows, table_title
from icrl_leaderboards.report.figures.canvas import Axis, Canvas, write_ticks
from icrl_leaderboards.report.figures.figure import Cell, Figure, Numbers, decimals
from icrl_leaderboards.report.scales import linear_ticks, widen
from icrl_leaderboards.report.styles import brief_label, is_source, series_name
from icrl_leaderboards.wording.text import shorten
from icrl_registry.arrays import Float64Array

_SIZE = (4.4, 3.0)
_POINTS = 101
_LISTED = 10  # every so many thresholds stand in the table
_LOWEST, _HIGHEST = -1.0, 2.0
_FOOTNOTE = "over runs and tasks; 1 is the oracle; band: pointwise 95 % interval"


def figures(data: FigureData) -> list[Figure]:
    """One staircase a method; nothing where no row has normalised scores."""
    rows = [row for row in principal_rows(data.table) if row.scores.size and not is_source(row)][:MOST_CURVES]
    if not rows:
        return []
    thresholds = _thresholds(rows)
    profiles = [profile(row.scores, thresholds) for row in rows]
    title, name = table_title(data.table), f"{data.name}-profile"
    numbers = _numbers(rows, thresholds, profiles)

    def draw(canvas: Canvas) -> None:
        _draw(canvas, data, rows, profiles)

    return [Figure(name, "Performance profile", title, _describe(rows), "", numbers, _SIZE, draw, [_FOOTNOTE])]


def _thresholds(rows: Sequence[Row]) -> Float64Array:
    """Scores from below the lowest to above the highest, or 1; scores very far off do not widen the axis."""
    joined = np.concatenate([row.scores.ravel() for row in rows])
    low, high = widen(min(1.0, float(joined.min())), max(1.0, float(joined.max())), 0.05)
    return np.linspace(min(max(low, _LOWEST), 0.9), min(high, _HIGHEST), _POINTS)


def _draw(canvas: Canvas, data: FigureData, rows: Sequence[Row], profiles: Sequence[Profile]) -> None:
    canvas.key([(brief_label(row), data.styles[row.label], series_name(row)) for row in rows], dots=False)
    low, high = float(profiles[0].thresholds[0]), float(profiles[0].thresholds[-1])
    ticks = linear_ticks(low, high, 6)
    shares = Axis(-0.01, 1.02, (0.0, 0.25, 0.5, 0.75, 1.0), lambda value: f"{100 * value:.0f} %", "share above τ")
    canvas.frame(Axis(low, high, ticks, write_ticks(ticks), "normalised score τ"), shares)
    if low <= 1.0 <= high:
        canvas.axes.axvline(1.0, color=AXIS, linewidth=0.9, zorder=1.5)
    for row, drawn in reversed(list(zip(rows, profiles, strict=True))):
        style, gid = data.styles[row.label], canvas.gid(series_name(row))
        if drawn.band is not None:
            band = {"color": style.colour_code, "alpha": 0.15, "linewidth": 0, "gid": gid, "zorder": 2}
            canvas.axes.fill_between(drawn.thresholds, *drawn.band, step="post", **band)
        line = {"color": style.colour_code, "linestyle": style.pattern, "gid": gid, "zorder": 3}
        canvas.axes.step(drawn.thresholds, drawn.share, where="post", **line)


def _describe(rows: Sequence[Row]) -> str:
    sentences = ["Share of runs and tasks above a normalised score."]
    for row in rows:
        half, most = performance_profile(row.scores, np.array([0.5, 0.9]))
        name = shorten(row.label, 60)
        sentences.append(f"{name}: {100 * float(half):.0f} % above 0.5, {100 * float(most):.0f} % above 0.9.")
    return " ".join(sentences)


def _numbers(rows: Sequence[Row], thresholds: Float64Array, profiles: Sequence[Profile]) -> Numbers:
    lines: list[tuple[Cell, ...]] = []
    for index in range(0, len(thresholds), _LISTED):
        cells: list[Cell] = [float(thresholds[index])]
        for each in profiles:
            share = float(each.share[index])
            cells.append((share, float(each.band[0][index]), float(each.band[1][index])) if each.band else share)
        lines.append(tuple(cells))
    header = ("score", *(row.label for row in rows))
    caption = "Share of runs and tasks above the score [pointwise 95 % interval]"
    return Numbers(caption, header, tuple(lines), (decimals(2),) * len(header))
