"""What a score costs: the normalised score against parameters, training time, steps and time per action."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from icrl_leaderboards.analysis.statistics.intervals import Estimate
from icrl_leaderboards.analysis.summary import Row
from icrl_leaderboards.drawing import AXIS, MUTED
from icrl_leaderboards.report.figures import FigureData
from icrl_leaderboards.report.figures.adaptation import MOST_CURVES, principal_rows, table_title
from icrl_leaderboards.report.figures.canvas import Axis, Canvas, write_ticks
from icrl_leaderboards.report.figures.figure import Figure, Numbers, decimals, estimate_cell
from icrl_leaderboards.report.scales import linear_ticks, log_ticks, widen, widen_log
from icrl_leaderboards.report.styles import brief_label, is_source, series_name
from icrl_leaderboards.wording.formatting import count, duration, with_interval
from icrl_leaderboards.wording.text import shorten

MOST_DOTS = 60
_SIZE = (3.4, 2.6)
_FOOTNOTE = "bar: 95 % interval; the line at 1 is the oracle"


@dataclass(frozen=True)
class CostMeasure:
    """One kind of cost of a row."""

    key: str
    title: str  # of the axis
    of: Callable[[Row], float]
    write: Callable[[float], str]
    ticks: Callable[[float, float], list[float]] = log_ticks


def milliseconds(value: float) -> str:
    """`0.35 ms`."""
    return f"{value:.3g} ms"


def milliseconds_per_action(row: Row) -> float:
    """Wall-clock of adapting per environment step in the test tasks: the agent's action, its learning and the simulator."""
    steps = row.mean_of("adapt_env_steps")
    return 1000.0 * row.seconds.get("adapt", 0.0) / steps if steps else 0.0


def duration_ticks(low: float, high: float) -> list[float]:
    """Round durations within [low, high]: seconds, minutes and hours as people count them."""
    round_ones = [0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36_000.0, 360_000.0]
    finer = [0.2, 0.5, 2.0, 5.0, 20.0, 30.0, 120.0, 300.0, 1200.0, 1800.0, 7200.0, 18_000.0, 86_400.0, 172_800.0]
    for choice in (round_ones, sorted(round_ones + finer)):
        inside = [each for each in choice if low <= each <= high]
        if len(inside) >= 3:
            return inside
    unit = 3600.0 if high >= 7200 else 60.0 if high >= 120 else 1.0
    return [unit * each for each in linear_ticks(low / unit, high / unit)]


def _duration_tick(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return duration(seconds)


COSTS = (
    CostMeasure("parameters", "trainable parameters", lambda row: float(row.head.parameters), count),
    CostMeasure("training", "training time", lambda row: row.seconds.get("train", 0.0), _duration_tick, duration_ticks),
    CostMeasure("steps", "environment steps of training data", lambda row: row.mean_of("train_env_steps"), count),
    CostMeasure("action", "adaptation time per action", milliseconds_per_action, milliseconds),
)


def figures(data: FigureData) -> list[Figure]:
    """One figure for each kind of cost that several rows have; rows without a score or without that cost are not in it."""
    scored = [row for row in principal_rows(data.table) if row.normalised_score is not None and not is_source(row)]
    made = []
    for cost in COSTS:
        rows = [row for row in scored if cost.of(row) > 0][:MOST_DOTS]
        if len(rows) > 1:  # a single dot compares nothing
            made.append(_figure(data, rows, cost))
    return made


def _figure(data: FigureData, rows: Sequence[Row], cost: CostMeasure) -> Figure:
    said = " ".join(
        f"{shorten(row.label, 60)}: score {with_interval(row.normalised_score, 2)} at {cost.write(cost.of(row))}."
        for row in rows[: MOST_CURVES + 1]
    )
    lines = tuple((row.label, cost.of(row), estimate_cell(_score(row))) for row in rows)
    numbers = Numbers(
        "Normalised score [95 % interval] and what it cost",
        ("method", cost.title, "score"),
        lines,
        (str, cost.write, decimals(2)),
    )
    caption = f"The best {MOST_DOTS} methods." if len(rows) == MOST_DOTS else ""
    return Figure(
        f"{data.name}-cost-{cost.key}",
        f"Score by {cost.title}",
        table_title(data.table),
        said,
        caption,
        numbers,
        _SIZE,
        lambda canvas: _draw(canvas, data, rows, cost),
        [_FOOTNOTE],
    )


def _draw(canvas: Canvas, data: FigureData, rows: Sequence[Row], cost: CostMeasure) -> None:
    named = rows[:MOST_CURVES]
    canvas.key([(brief_label(row), data.styles[row.label], series_name(row)) for row in named])
    low, high = _score_range(rows)
    ticks = linear_ticks(low, high)
    costs = [cost.of(row) for row in rows]
    ends = widen_log(min(costs), max(costs), 0.12)
    x = Axis(*ends, cost.ticks(*ends), cost.write, cost.title, logarithmic=True)
    canvas.frame(x, Axis(low, high, ticks, write_ticks(ticks), "normalised score"))
    if low <= 1.0 <= high:
        canvas.axes.axhline(1.0, color=AXIS, linewidth=0.9, zorder=1.5)
    for row, place in reversed(list(zip(rows, costs, strict=True))):
        colour = data.styles[row.label].colour_code if row in named else MUTED
        draw_estimate(canvas, place, _score(row), colour, canvas.gid(series_name(row)))


def draw_estimate(canvas: Canvas, place: float, estimate: Estimate, colour: str, gid: str | None = None) -> None:
    """A dot with a bar for its interval; what lies beyond the plot stands at its edge."""
    low, high = sorted(canvas.axes.get_ylim())
    if estimate.interval is not None:
        ends = [min(max(end, low), high) for end in (estimate.interval.low, estimate.interval.high)]
        canvas.axes.plot([place] * 2, ends, color=colour, alpha=0.7, linewidth=1.4, gid=gid, zorder=2)
    value = min(max(estimate.value, low), high)
    canvas.axes.plot([place], [value], "o", color=colour, markersize=5, gid=gid, zorder=3, clip_on=False)


def _score(row: Row) -> Estimate:
    assert row.normalised_score is not None
    return row.normalised_score


def _score_range(rows: Sequence[Row]) -> tuple[float, float]:
    """The scores with their intervals, and 1, the oracle; what is very far from 0 and 1 stands at the edge."""
    ends = [1.0]
    for score in map(_score, rows):
        ends += [score.value] + ([score.interval.low, score.interval.high] if score.interval else [])
    return widen(max(min(ends), -2.0), min(max(ends), 3.0))
