"""Small marks within a line of text: a piece of a method's line, and its score between random and oracle.

They have fixed shapes and no text, so they are written down rather than drawn; colours are literal, as in every figure.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from icrl_leaderboards.analysis.summary import Row
from icrl_leaderboards.drawing import AXIS, COLOURS, GRID
from icrl_leaderboards.report.styles import LineStyle
from icrl_leaderboards.runs.training import Series

_WIDTH, _MIDDLE = 120.0, 8.0
_MOST_POINTS = 60  # of a trend


def swatch(style: LineStyle) -> Markup:
    """A short piece of a method's line."""
    dashes = f' stroke-dasharray="{" ".join(f"{each * 4 / 3:g}" for each in style.dashes)}"' if style.dashes else ""
    return _mark("swatch", 26, 10, f'<path d="M1 5H25" stroke="{style.colour_code}" stroke-width="2"{dashes}/>')


def score_bar(row: Row, rows: Sequence[Row], style: LineStyle) -> Markup:
    """The normalised score and its interval between 0 (random) and 1 (oracle); all rows of a table share the scale."""
    if row.normalised_score is None:
        return Markup("")
    ends = [0.0, 1.0]
    for each in rows:
        if each.normalised_score is not None:
            score = each.normalised_score
            ends += [score.value] + ([score.interval.low, score.interval.high] if score.interval else [])
    low, high = max(min(ends), -1.0), min(max(ends), 2.0)

    def x(value: float) -> str:
        return f"{4 + (_WIDTH - 8) * (min(max(value, low), high) - low) / (high - low):.1f}"

    marks = [f'<path d="M{x(0)} {_MIDDLE}H{x(1)}" stroke="{GRID}" stroke-width="4"/>']
    marks += [f'<path d="M{x(end)} 3V13" stroke="{AXIS}"/>' for end in (0.0, 1.0)]
    score, colour = row.normalised_score, style.colour_code
    if score.interval is not None:
        ends_of_bar = f"M{x(score.interval.low)} {_MIDDLE}H{x(score.interval.high)}"
        marks.append(f'<path d="{ends_of_bar}" stroke="{colour}" stroke-width="1.8" opacity=".7"/>')
    if low <= score.value <= high:
        marks.append(f'<circle cx="{x(score.value)}" cy="{_MIDDLE}" r="3.6" fill="{colour}"/>')
    return _mark("bar", _WIDTH, 2 * _MIDDLE, "".join(marks))


def trend_mark(series: Series) -> Markup:
    """The course of one quantity of a training, from its smallest value below to its largest above."""
    values, low = series.binned(_MOST_POINTS), min(series.values)
    span = (max(series.values) - low) or 1.0
    step = (_WIDTH - 4) / max(len(values) - 1, 1)
    points = " ".join(
        f"{2 + index * step:.1f},{16 - 14 * (value - low) / span:.1f}" for index, value in enumerate(values)
    )
    return _mark(
        "trend", _WIDTH, 18, f'<polyline points="{points}" fill="none" stroke="{COLOURS[0][0]}" stroke-width="1.5"/>'
    )


def _mark(name: str, width: float, height: float, content: str) -> Markup:
    return Markup(f'<svg class="plot {name}" viewBox="0 0 {width:g} {height:g}" aria-hidden="true">{content}</svg>')
