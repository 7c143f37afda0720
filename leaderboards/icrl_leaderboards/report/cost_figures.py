"""What a score costs: small plots of the normalised score against parameters, training time, steps and time per action."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from icrl_leaderboards.analysis.summary import Row, Table
from icrl_leaderboards.report.curves import principal_rows, table_title
from icrl_leaderboards.report.drawing import Drawing, Point, text_width
from icrl_leaderboards.report.figures import (
    LABEL_SIZE,
    Axis,
    Box,
    Figure,
    Numbers,
    draw_frame,
    left_margin,
    write_ticks,
)
from icrl_leaderboards.report.scales import Scale, linear_ticks, log_ticks, widen, widen_log
from icrl_leaderboards.report.styles import LineStyle, brief_label, is_source, series_name
from icrl_leaderboards.wording.formatting import count, duration, with_interval
from icrl_leaderboards.wording.text import shorten

_SIZE = (300.0, 208.0)
_MOST_NAMES = 9
MOST_DOTS = 60


@dataclass(frozen=True)
class Cost:
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
    inside = [each for each in round_ones if low <= each <= high]
    finer = [0.2, 0.5, 2.0, 5.0, 20.0, 30.0, 120.0, 300.0, 1200.0, 1800.0, 7200.0, 18_000.0, 86_400.0, 172_800.0]
    return inside if len(inside) >= 2 else [each for each in sorted(round_ones + finer) if low <= each <= high] or [low]


def _duration_tick(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return duration(seconds)


COSTS = (
    Cost("parameters", "trainable parameters", lambda row: float(row.head.parameters), count),
    Cost("training", "training time", lambda row: row.seconds.get("train", 0.0), _duration_tick, duration_ticks),
    Cost("steps", "environment steps of training data", lambda row: row.mean_of("train_env_steps"), count),
    Cost("action", "adaptation time per action", milliseconds_per_action, milliseconds),
)


def cost_figures(table: Table, styles: Mapping[str, LineStyle], name: str) -> list[Figure]:
    """One figure for each kind of cost that several rows have; rows without a score or without that cost are not in it."""
    scored = [row for row in principal_rows(table) if row.normalised_score is not None and not is_source(row)]
    figures = []
    for cost in COSTS:
        rows = [row for row in scored if cost.of(row) > 0][:MOST_DOTS]
        if len(rows) > 1:  # a single dot compares nothing
            figures.append(_figure(table, rows, styles, cost, f"{name}-{cost.key}"))
    return figures


def _figure(table: Table, rows: Sequence[Row], styles: Mapping[str, LineStyle], cost: Cost, name: str) -> Figure:
    drawing = Drawing(*_SIZE)
    low, high = _score_range(rows)
    ticks = linear_ticks(low, high, 4)
    write = write_ticks(ticks)
    box = Box(left_margin([write(tick) for tick in ticks]), 20, drawing.width - 10, drawing.height - 38)
    costs = [cost.of(row) for row in rows]
    x = Scale(*widen_log(min(costs), max(costs), 0.12), box.left, box.right, logarithmic=True)
    y = Scale(low, high, box.bottom, box.top)
    draw_frame(
        drawing,
        box,
        Axis(x, cost.ticks(x.low, x.high), cost.write, cost.title),
        Axis(y, ticks, write, "normalised score"),
    )
    if y.holds(1.0):
        drawing.line((box.left, y(1.0)), (box.right, y(1.0)), "reference")
    for row in reversed(rows):
        _draw_row(drawing, row, styles[row.label], x(cost.of(row)), y)
    dots = [(row, (x(cost.of(row)), _height(row, y))) for row in rows]
    _draw_names(drawing, dots, styles, box)
    lines = tuple((row.label, cost.write(cost.of(row)), with_interval(row.normalised_score, 2)) for row in rows)
    said = " ".join(f"{shorten(label, 60)}: score {score} at {spent}." for label, spent, score in lines[:_MOST_NAMES])
    caption = f"The best {MOST_DOTS} methods." if len(rows) == MOST_DOTS else ""
    numbers = Numbers("Normalised score [95 % interval] and what it cost", ("method", cost.title, "score"), lines)
    return Figure(name, f"Score by {cost.title}", table_title(table), said, caption, drawing, numbers)


def _score_range(rows: Sequence[Row]) -> tuple[float, float]:
    """The scores with their intervals, and 1, the oracle; what is very far from 0 and 1 stands at the edge."""
    ends = [1.0]
    for row in rows:
        score = row.normalised_score
        assert score is not None
        ends += [score.value] + ([score.interval.low, score.interval.high] if score.interval else [])
    return widen(max(min(ends), -2.0), min(max(ends), 3.0))


def _draw_row(drawing: Drawing, row: Row, style: LineStyle, place: float, y: Scale) -> None:
    score = row.normalised_score
    assert score is not None
    drawing.begin_group("series", series=series_name(row))
    if score.interval is not None:
        low, high = (y(min(max(end, y.low), y.high)) for end in (score.interval.low, score.interval.high))
        drawing.line((place, low), (place, high), f"whisker {style.stroke}")
    drawing.circle((place, _height(row, y)), 4, style.fill)
    drawing.end_group()


def _height(row: Row, y: Scale) -> float:
    score = row.normalised_score
    assert score is not None
    return y(min(max(score.value, y.low), y.high))


def _draw_names(
    drawing: Drawing, names: Sequence[tuple[Row, Point]], styles: Mapping[str, LineStyle], box: Box
) -> None:
    """Each name beside its dot where neither another name nor a dot is; a name without such a place is left out."""
    taken = [Box(x - 4, y - 4, x + 4, y + 4) for _, (x, y) in names]
    for row, (x, y) in names[:_MOST_NAMES]:
        name = brief_label(row, 14)
        width = text_width(name, LABEL_SIZE)
        for left, middle in (
            (x + 8, y),
            (x - 8 - width, y),
            (x - width / 2, y - 12),
            (x - width / 2, y + 13),
            (x + 6, y - 11),
            (x + 6, y + 12),
            (x - 6 - width, y - 11),
            (x - 6 - width, y + 12),
        ):
            wanted = Box(left, middle - 6, left + width, middle + 6)
            inside = box.left < wanted.left and wanted.right <= box.right + 3 and wanted.bottom < box.bottom
            if inside and not any(_overlap(wanted, other) for other in taken):
                taken.append(wanted)
                drawing.begin_group("series", series=series_name(row))
                drawing.text((left, middle), name, f"name {styles[row.label].fill}")
                drawing.end_group()
                break


def _overlap(one: Box, other: Box) -> bool:
    return one.left < other.right and other.left < one.right and one.top < other.bottom and other.top < one.bottom
