"""Small drawings within a line of text: a piece of a method's line, and its score between random and oracle."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from icrl_leaderboards.analysis.summary import Row
from icrl_leaderboards.report.drawing import Drawing
from icrl_leaderboards.report.scales import Scale
from icrl_leaderboards.report.styles import LineStyle

_BAR = (120.0, 16.0)


def swatch(style: LineStyle) -> Markup:
    """A short piece of a method's line."""
    drawing = Drawing(26, 10)
    drawing.line((1, 5), (25, 5), f"curve {style.stroke}", style.dashes)
    return _decoration(drawing, "swatch")


def score_bar(row: Row, rows: Sequence[Row], style: LineStyle) -> Markup:
    """The normalised score and its interval between 0 (random) and 1 (oracle); all rows of a table share the scale."""
    if row.normalised_score is None:
        return Markup("")
    ends = [0.0, 1.0]
    for each in rows:
        if each.normalised_score is not None:
            score = each.normalised_score
            ends += [score.value] + ([score.interval.low, score.interval.high] if score.interval else [])
    drawing = Drawing(*_BAR)
    x = Scale(max(min(ends), -1.0), min(max(ends), 2.0), 4, drawing.width - 4)
    middle = drawing.height / 2
    drawing.line((x(0), middle), (x(1), middle), "bar-track stroke-grid")
    for end in (0.0, 1.0):
        drawing.line((x(end), 3), (x(end), 13), "stroke-axis")
    score = row.normalised_score
    if score.interval is not None:
        low, high = (min(max(end, x.low), x.high) for end in (score.interval.low, score.interval.high))
        drawing.line((x(low), middle), (x(high), middle), f"whisker {style.stroke}")
    if x.holds(score.value):
        drawing.circle((x(score.value), middle), 3.6, style.fill)
    return _decoration(drawing, "bar")


def _decoration(drawing: Drawing, classes: str) -> Markup:
    box = f'viewBox="0 0 {drawing.width:g} {drawing.height:g}"'
    return Markup(f'<svg class="plot {classes}" {box} aria-hidden="true">{"".join(drawing.parts)}</svg>')
