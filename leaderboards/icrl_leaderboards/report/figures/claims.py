"""The paper's claims on one environment: every statement that has a number, with its interval, beside what it must pass."""

from __future__ import annotations

from collections.abc import Sequence

from icrl_leaderboards.analysis.claims.claim import NEAR, Evidence
from icrl_leaderboards.analysis.claims.paper import PAPER_CLAIMS
from icrl_leaderboards.drawing import AXIS, COLOURS, MUTED
from icrl_leaderboards.report.figures import FigureData
from icrl_leaderboards.report.figures.adaptation import table_title
from icrl_leaderboards.report.figures.canvas import Axis, Canvas, write_ticks
from icrl_leaderboards.report.figures.figure import Figure, Numbers, decimals
from icrl_leaderboards.report.scales import linear_ticks, widen
from icrl_leaderboards.wording.formatting import number

_WIDTH, _LINE, _AROUND = 3.4, 0.3, 1.1  # inches
_HOLDS, _FAILS = COLOURS[2][0], COLOURS[1][0]
_FOOTNOTE = "bar: 95 % interval; tick: what it must pass; green holds, red fails, grey is undecided"

Statement = tuple[str, Evidence]
"""The claim's id and what is said of one environment."""


def figures(data: FigureData) -> list[Figure]:
    """One figure, or none where no claim has a number in this environment, protocol and track."""
    runs = [run for row in data.table.rows for run in row.runs]
    found: list[Statement] = [
        (claim.id, evidence)
        for claim in PAPER_CLAIMS
        for evidence in claim.gather(runs)
        if evidence.value is not None and evidence.environment == data.table.environment
    ]
    if not found:
        return []
    said = " ".join(f"{name}, {each.statement}: {number(each.value, 2)}, {_verdict(each)}." for name, each in found)
    lines = tuple((name, each.statement, _cell(each), threshold(each), _verdict(each)) for name, each in found)
    numbers = Numbers(
        "What each claim says of this environment [95 % interval]",
        ("claim", "statement", "value", "must pass", "verdict"),
        lines,
        (str, str, decimals(3), decimals(1), str),
    )
    size = (_WIDTH, _AROUND + _LINE * len(found))
    return [
        Figure(
            f"{data.name}-claims",
            "The paper's claims",
            table_title(data.table),
            said,
            "",
            numbers,
            size,
            lambda canvas: _draw(canvas, found),
            [_FOOTNOTE],
        )
    ]


def threshold(evidence: Evidence) -> float:
    """What the statement's whole interval must pass: `NEAR` of a score, 0 of a difference."""
    return NEAR if "near the oracle" in evidence.statement else 0.0


def _draw(canvas: Canvas, found: Sequence[Statement]) -> None:
    ends = [threshold(each) for _, each in found]
    for _, each in found:
        ends += [value for value in (each.value, each.low, each.high) if value is not None]
    low, high = widen(max(min(ends), -3.0), min(max(ends), 3.0))
    ticks = linear_ticks(low, high)
    names = dict(enumerate(name for name, _ in found))
    y = Axis(len(found) - 0.5, -0.5, list(names), lambda place: names[round(place)], "")
    canvas.frame(Axis(low, high, ticks, write_ticks(ticks), "difference in score, or score"), y)
    for place, (_, each) in enumerate(found):
        colour = MUTED if each.holds is None else _HOLDS if each.holds else _FAILS
        if each.low is not None and each.high is not None:
            bar = [min(max(end, low), high) for end in (each.low, each.high)]
            canvas.axes.plot(bar, [place] * 2, color=colour, alpha=0.7, linewidth=1.4, zorder=2)
        value = min(max(float(each.value or 0.0), low), high)
        canvas.axes.plot([value], [place], "o", color=colour, markersize=5, zorder=3, clip_on=False)
        canvas.axes.plot([threshold(each)] * 2, [place - 0.3, place + 0.3], color=AXIS, linewidth=0.9, zorder=1.5)


def _cell(evidence: Evidence) -> float | tuple[float, float, float] | None:
    if evidence.value is None or evidence.low is None or evidence.high is None:
        return evidence.value
    return evidence.value, evidence.low, evidence.high


def _verdict(evidence: Evidence) -> str:
    return "undecided" if evidence.holds is None else "holds" if evidence.holds else "fails"
