"""Adaptation curves: a line and a band for each method, named at the plot's edge, among floors and oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from icrl_leaderboards.drawing import AXIS, MUTED
from icrl_leaderboards.report.figures import FigureData, within
from icrl_leaderboards.report.figures.adaptation import (
    Curve,
    CurvePlot,
    bands_leave,
    episode_plot,
    steps_plot,
    value_range,
)
from icrl_leaderboards.report.figures.canvas import Axis, Canvas, Label, write_ticks
from icrl_leaderboards.report.figures.figure import Cell, Figure, Numbers, decimals
from icrl_leaderboards.report.scales import episode_ticks, linear_ticks, log_ticks, widen
from icrl_leaderboards.wording.formatting import count, number
from icrl_leaderboards.wording.text import shorten

_SIZES = {"full": (4.4, 3.0), "small": (3.4, 2.3)}


def figures(data: FigureData) -> list[Figure]:
    """Return by episode; by environment steps, beside the source, and by step within the first episodes, where known."""
    steps = steps_plot(data.table, data.styles, data.records)
    by_episode = curve_figure(episode_plot(data.table, data.styles), data.name)
    return [by_episode, *([curve_figure(steps, f"{data.name}-steps")] if steps else []), *within.figures(data)]


def curve_figure(plot: CurvePlot, name: str, size: str = "full") -> Figure:
    """The figure of a plot; `size` is "full", or "small" for one of many beside each other."""
    bottom, top = widen(*value_range(plot), 0.04)
    leaving = bands_leave(plot, bottom, top)
    note = "mean over seeds and tasks; band: pointwise 95 % interval"
    if leaving:
        note += "; cut off at the edge: " + ", ".join(shorten(each, 30) for each in leaving)
    return Figure(
        name,
        "Return by episode" if plot.axis == "episode" else "Return by environment steps, beside the source",
        plot.title,
        describe(plot),
        _caption(plot),
        _numbers(plot),
        _SIZES[size],
        lambda canvas: _draw(canvas, plot, bottom, top),
        [note] if size == "full" else [],
    )


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
    left_out = f"{plot.left_out} more methods, ranked below these, are in the table." if plot.left_out else ""
    if plot.axis == "episode":
        return left_out
    return (
        "On a logarithmic axis; source is the algorithm that made the training data, learning the test task from nothing. "
        f"Its many episodes are shown as means of neighbours. {left_out}"
    ).strip()


def _draw(canvas: Canvas, plot: CurvePlot, bottom: float, top: float) -> None:
    ticks = linear_ticks(bottom, top)
    labels = [_label(curve, bottom, top) for curve in plot.curves]
    for each in plot.references:
        labels.append(Label(_named(each.name, each.value, bottom, top), each.value, MUTED))
    canvas.frame(_horizontal(plot), Axis(bottom, top, ticks, write_ticks(ticks), "return"), labels)
    for reference in plot.references:
        if bottom <= reference.value <= top:
            dashes = "-" if reference.kind == "oracle" else (0, (2.2, 2.2))
            canvas.axes.axhline(reference.value, color=AXIS, linewidth=0.9, linestyle=dashes, zorder=1.5)
    for curve in reversed(plot.curves):  # the best on top
        _draw_curve(canvas, curve)


def _draw_curve(canvas: Canvas, curve: Curve) -> None:
    colour, gid = curve.style.colour_code, canvas.gid(curve.series)
    if curve.low is not None and curve.high is not None and len(curve.places) > 1:
        canvas.axes.fill_between(
            curve.places, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0, gid=gid, zorder=2
        )
    marker = "o" if len(curve.places) == 1 else ""
    canvas.axes.plot(
        curve.places, curve.mean, color=colour, linestyle=curve.style.pattern, marker=marker, gid=gid, zorder=3
    )


def _horizontal(plot: CurvePlot) -> Axis:
    if plot.axis == "episode":
        last = int(plot.last_place)
        low, high = (1.0, float(last)) if last > 1 else (0.5, 1.5)
        margin = 0.02 * (high - low)
        return Axis(low - margin, high, episode_ticks(last), lambda value: f"{value:.0f}", "episode")
    first = min(float(curve.places[0]) for curve in plot.curves)
    last_place = max(plot.last_place, first * 2)
    return Axis(first * 0.93, last_place, log_ticks(first, last_place), count, "environment steps in the task", True)


def _label(curve: Curve, low: float, high: float) -> Label:
    value = float(curve.mean[-1])
    text = _named(curve.brief, value, low, high)
    return Label(text, value, curve.style.colour_code, curve.series, float(curve.places[-1]), curve.style)


def _named(name: str, value: float, low: float, high: float) -> str:
    """The name; beyond the plot, its value and an arrow take the place of a line."""
    if low <= value <= high:
        return name
    size = abs(value)
    written = number(value, 0 if size >= 100 else 1) if size < 10_000 else f"{'−' if value < 0 else ''}{count(size)}"
    return f"{name} {written} {'↓' if value < low else '↑'}"


def _numbers(plot: CurvePlot) -> Numbers:
    """Episode, or steps, then each curve's mean and band."""
    along, head = {
        "episode": ("of each episode", "episode"),
        "steps": ("after so many environment steps in the task", "environment steps"),
    }[plot.axis]
    columns = [_column(curve) for curve in plot.curves]
    places = sorted({place for column in columns for place in column})
    lines = tuple((place, *(column.get(place) for column in columns)) for place in places)
    caption = f"Mean return {along} over seeds and tasks [pointwise 95 % interval]"
    writers: Sequence[Callable[[float], str]] = (decimals(0), *[decimals(3)] * len(columns))
    return Numbers(caption, (head, *(curve.label for curve in plot.curves)), lines, tuple(writers))


def _column(curve: Curve) -> dict[float, Cell]:
    means = [float(value) for value in curve.mean]
    if curve.low is None or curve.high is None:
        return dict(zip(curve.places.tolist(), means, strict=True))
    cells = zip(means, curve.low.tolist(), curve.high.tolist(), strict=True)
    return dict(zip(curve.places.tolist(), cells, strict=True))
