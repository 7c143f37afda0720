"""Performance profiles: for every score the share of runs and tasks that are above it (Agarwal et al., 2021, section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from icrl_leaderboards.analysis.statistics import FloatArray, performance_profile
from icrl_leaderboards.analysis.statistics.pairs import Profile, profile
from icrl_leaderboards.analysis.summary import Row, Table
from icrl_leaderboards.report.curves import MOST_CURVES, principal_rows, table_title
from icrl_leaderboards.report.drawing import Drawing, steps
from icrl_leaderboards.report.figures import Axis, Box, Figure, Numbers, draw_frame, draw_key, left_margin, write_ticks
from icrl_leaderboards.report.scales import Scale, linear_ticks, widen
from icrl_leaderboards.report.styles import LineStyle, brief_label, is_source, series_name
from icrl_leaderboards.wording.formatting import number
from icrl_leaderboards.wording.text import shorten

_SIZE = (420.0, 276.0)
_POINTS = 101
_LISTED = 10  # every so many thresholds stand in the table
_LOWEST, _HIGHEST = -1.0, 2.0


def profile_figure(table: Table, styles: Mapping[str, LineStyle], name: str) -> Figure | None:
    """One staircase a method; None where no row has normalised scores."""
    rows = [row for row in principal_rows(table) if row.scores.size and not is_source(row)][:MOST_CURVES]
    if not rows:
        return None
    thresholds = _thresholds(rows)
    profiles = [profile(row.scores, thresholds) for row in rows]
    drawing = Drawing(*_SIZE)
    top = draw_key(drawing, [(brief_label(row), styles[row.label].fill, series_name(row)) for row in rows], 0, 8) + 22
    drawing.height += top - 30
    x, y = _draw_axes(drawing, top, thresholds)
    for row, drawn in reversed(list(zip(rows, profiles, strict=True))):
        _draw_profile(drawing, row, styles[row.label], x, y, drawn)
    caption = "Share of runs and tasks with a normalised score above the one on the axis, with its 95 % band; 1 is the oracle."
    numbers = _numbers(rows, thresholds, profiles)
    return Figure(name, "Performance profile", table_title(table), _describe(rows), caption, drawing, numbers)


def _thresholds(rows: Sequence[Row]) -> FloatArray:
    """Scores from below the lowest to above the highest, or 1; scores very far off do not widen the axis."""
    joined = np.concatenate([row.scores.ravel() for row in rows])
    low, high = widen(min(1.0, float(joined.min())), max(1.0, float(joined.max())), 0.05)
    return np.linspace(min(max(low, _LOWEST), 0.9), min(high, _HIGHEST), _POINTS)


def _draw_axes(drawing: Drawing, top: float, thresholds: FloatArray) -> tuple[Scale, Scale]:
    heights = (0.0, 0.25, 0.5, 0.75, 1.0)
    box = Box(left_margin(["100 %"]), top + 12, drawing.width - 10, drawing.height - 38)
    x = Scale(float(thresholds[0]), float(thresholds[-1]), box.left, box.right)
    y = Scale(0.0, 1.0, box.bottom, box.top)
    ticks = linear_ticks(x.low, x.high, 6)
    draw_frame(
        drawing,
        box,
        Axis(x, ticks, write_ticks(ticks), "normalised score τ"),
        Axis(y, heights, lambda value: f"{100 * value:.0f} %", "share above τ"),
        title_height=top,
    )
    if x.holds(1.0):
        drawing.line((x(1.0), box.top), (x(1.0), box.bottom), "reference")
    return x, y


def _draw_profile(drawing: Drawing, row: Row, style: LineStyle, x: Scale, y: Scale, drawn: Profile) -> None:
    places = [x(float(each)) for each in drawn.thresholds]
    drawing.begin_group("series", series=series_name(row))
    if drawn.band is not None:
        low, high = (steps(zip(places, (y(float(each)) for each in values), strict=True)) for values in drawn.band)
        drawing.area(high, low, f"band {style.fill}")
    stairs = steps(zip(places, (y(float(each)) for each in drawn.share), strict=True))
    drawing.path(stairs, f"curve {style.stroke}", style.dashes)
    drawing.end_group()


def _describe(rows: Sequence[Row]) -> str:
    sentences = ["Share of runs and tasks above a normalised score."]
    for row in rows:
        half, most = performance_profile(row.scores, np.array([0.5, 0.9]))
        name = shorten(row.label, 60)
        sentences.append(f"{name}: {100 * float(half):.0f} % above 0.5, {100 * float(most):.0f} % above 0.9.")
    return " ".join(sentences)


def _numbers(rows: Sequence[Row], thresholds: FloatArray, profiles: Sequence[Profile]) -> Numbers:
    lines = []
    for index in range(0, len(thresholds), _LISTED):
        cells = []
        for each in profiles:
            text = number(float(each.share[index]), 2)
            if each.band is not None:
                text += f" [{number(float(each.band[0][index]), 2)}, {number(float(each.band[1][index]), 2)}]"
            cells.append(text)
        lines.append((number(float(thresholds[index]), 2), *cells))
    header = ("score", *(row.label for row in rows))
    return Numbers("Share of runs and tasks above the score [pointwise 95 % interval]", header, tuple(lines))
