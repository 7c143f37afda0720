"""Drawing adaptation curves: a line and a band for each method, named where the line ends, among floors and oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from icrl_leaderboards.report.curves import Curve, CurvePlot, value_range
from icrl_leaderboards.report.drawing import Drawing, text_width
from icrl_leaderboards.report.figures import (
    LABEL_SIZE,
    LINE_HEIGHT,
    Axis,
    Box,
    Figure,
    Numbers,
    draw_frame,
    left_margin,
    write_ticks,
)
from icrl_leaderboards.report.scales import Scale, episode_ticks, linear_ticks, log_ticks, spread_within, widen
from icrl_leaderboards.report.styles import cut
from icrl_leaderboards.wording.formatting import count, number
from icrl_leaderboards.wording.text import shorten

_SIZES = {"full": (420.0, 276.0), "small": (330.0, 208.0)}
_LONGEST_LABEL = 140.0


def curve_figure(plot: CurvePlot, name: str, size: str = "full") -> Figure:
    """The figure of a plot; `size` is "full", or "small" for one of many beside each other."""
    drawing = Drawing(*_SIZES[size])
    low, high = value_range(plot)
    bottom, top = widen(low, high, 0.06)
    ticks = linear_ticks(bottom, top, 5 if size == "full" else 4)
    write = write_ticks(ticks)
    labels = _labels(plot, bottom, top)
    widest = max(text_width(label.text, LABEL_SIZE) for label in labels)
    right = drawing.width - min(widest, _LONGEST_LABEL) - 8
    box = Box(left_margin([write(tick) for tick in ticks]), 20, right, drawing.height - 38)
    y = Axis(Scale(bottom, top, box.bottom, box.top), ticks, write, "return")
    x = _horizontal(plot, box)
    draw_frame(drawing, box, x, y)
    drawing.begin_clip(f"{name}-clip", (box.left, box.top - 4), (box.right + 3, box.bottom))
    _draw_references(drawing, plot, box, y.scale)
    for curve in reversed(plot.curves):  # the best on top
        _draw_curve(drawing, curve, x.scale, y.scale)
    drawing.end_group()
    _draw_labels(drawing, labels, box, x.scale, y.scale)
    heading = "Return by episode" if plot.axis == "episode" else "Return by environment steps, beside the source"
    return Figure(name, heading, plot.title, describe(plot), _caption(plot), drawing, _numbers(plot))


def describe(plot: CurvePlot) -> str:
    """The plot in words: where each curve begins and ends, and the lines it is seen against."""
    last = number(plot.last_place, 0)
    along = f"{last} episodes" if plot.axis == "episode" else f"up to {last} environment steps in a task"
    sentences = [f"Mean return per episode over seeds and tasks, {along}."]
    for curve in plot.curves:
        first, end = number(float(curve.mean[0]), 2), number(float(curve.mean[-1]), 2)
        sentences.append(f"{shorten(curve.label, 60)} goes from {first} to {end}.")
    sentences += [f"{each.name}: {number(each.value, 2)}." for each in plot.references]
    return " ".join(sentences)


def _caption(plot: CurvePlot) -> str:
    left_out = f" {plot.left_out} more methods, ranked below these, are in the table." if plot.left_out else ""
    if plot.axis == "episode":
        return f"Mean over seeds and tasks with its pointwise 95 % band.{left_out}"
    return (
        "The same against environment steps in one test task, on a logarithmic axis; source is the algorithm that made the "
        f"training data, learning the test task from nothing. Its many episodes are shown as means of neighbours.{left_out}"
    )


def _horizontal(plot: CurvePlot, box: Box) -> Axis:
    if plot.axis == "episode":
        last = int(plot.last_place)
        ends = (1.0, float(last)) if last > 1 else (0.5, 1.5)
        return Axis(Scale(*ends, box.left + 6, box.right), episode_ticks(last), lambda value: f"{value:.0f}", "episode")
    first = min(float(curve.places[0]) for curve in plot.curves)
    scale = Scale(first, max(plot.last_place, first * 2), box.left + 6, box.right, logarithmic=True)
    return Axis(scale, log_ticks(scale.low, scale.high), count, "environment steps in the task")


def _draw_curve(drawing: Drawing, curve: Curve, x: Scale, y: Scale) -> None:
    style = curve.style
    places = [x(float(place)) for place in curve.places]
    drawing.begin_group("series", series=curve.series)
    if curve.low is not None and curve.high is not None and len(places) > 1:
        upper, lower = ([y(float(value)) for value in each] for each in (curve.high, curve.low))
        drawing.area(list(zip(places, upper, strict=True)), list(zip(places, lower, strict=True)), f"band {style.fill}")
    points = list(zip(places, (y(float(value)) for value in curve.mean), strict=True))
    if len(points) == 1:
        drawing.circle(points[0], 4, style.fill)
    else:
        drawing.path(points, f"curve {style.stroke}", style.dashes)
    drawing.end_group()


def _draw_references(drawing: Drawing, plot: CurvePlot, box: Box, y: Scale) -> None:
    for reference in plot.references:
        if y.holds(reference.value):
            height = y(reference.value)
            dashes = () if reference.kind == "oracle" else (3.0, 3.0)
            drawing.line((box.left, height), (box.right, height), "reference", dashes)


@dataclass(frozen=True)
class _Label:
    """A name in the plot: of a curve, where it ends, or of a floor or the oracle, at the right edge."""

    text: str
    value: float
    place: float | None  # where the curve ends; None at the right edge
    classes: str
    series: str


def _labels(plot: CurvePlot, low: float, high: float) -> list[_Label]:
    labels = [
        _Label(
            _named(curve.brief, float(curve.mean[-1]), low, high),
            float(curve.mean[-1]),
            float(curve.places[-1]) if curve.places[-1] < 0.7 * plot.last_place else None,
            f"name {curve.style.fill}",
            curve.series,
        )
        for curve in plot.curves
    ]
    for each in plot.references:
        labels.append(_Label(_named(each.name, each.value, low, high), each.value, None, "fill-muted", ""))
    return labels


def _named(name: str, value: float, low: float, high: float) -> str:
    """The name; beyond the plot, its value and an arrow take the place of a line."""
    if low <= value <= high:
        return name
    size = abs(value)
    written = number(value, 0 if size >= 100 else 1) if size < 10_000 else f"{'−' if value < 0 else ''}{count(size)}"
    return f"{cut(name, 12)} {written} {'↓' if value < low else '↑'}"


def _draw_labels(drawing: Drawing, labels: Sequence[_Label], box: Box, x: Scale, y: Scale) -> None:
    """Names beneath each other without touching, in one column for each place where curves end."""
    for place in sorted({label.place for label in labels}, key=lambda each: (each is None, each or 0.0)):
        column = [label for label in labels if label.place == place]
        heights = spread_within([y(label.value) for label in column], LINE_HEIGHT, box.top, box.bottom - 2)
        for label, height in zip(column, heights, strict=True):
            left = (box.right if place is None else x(place)) + 6
            if label.series:
                drawing.begin_group("series", series=label.series)
            drawing.text((left, height), label.text, label.classes)
            if label.series:
                drawing.end_group()


def _numbers(plot: CurvePlot) -> Numbers:
    """Episode, or steps, then each curve's mean and band."""
    along, head = {
        "episode": ("of each episode", "episode"),
        "steps": ("after so many environment steps in the task", "environment steps"),
    }[plot.axis]
    columns: list[dict[float, str]] = []
    for curve in plot.curves:
        column = {}
        for index, place in enumerate(curve.places):
            text = number(float(curve.mean[index]), 3)
            if curve.low is not None and curve.high is not None:
                text += f" [{number(float(curve.low[index]), 3)}, {number(float(curve.high[index]), 3)}]"
            column[float(place)] = text
        columns.append(column)
    places = sorted({place for column in columns for place in column})
    lines = tuple((number(place, 0), *(column.get(place, "") for column in columns)) for place in places)
    caption = f"Mean return {along} over seeds and tasks [pointwise 95 % interval]"
    return Numbers(caption, (head, *(curve.label for curve in plot.curves)), lines)
