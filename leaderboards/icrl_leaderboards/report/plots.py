"""Plots, drawn by matplotlib without its global state: the same data give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icrl_leaderboards.formatting import decimals_for, number
from icrl_leaderboards.report.curves import CurvePlot, curve_plot, line_styles, value_range
from icrl_leaderboards.summary import Row, tables_of
from icrl_leaderboards.text import shorten
from icrl_registry.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT_COLOUR = "#1d2733"
MUTED_COLOUR = "#66707d"
GRID_COLOUR = "#dfe3e8"
_SIZE = (5.4, 3.3)  # inches, of 72 SVG units each
_LEGEND_LINE = 0.18  # inches
_SETTINGS: Any = {
    "svg.hashsalt": "icrl-bench",
    "svg.fonttype": "none",  # letters stay text: searchable, and readable to a screen reader
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": TEXT_COLOUR,
    "text.parse_math": False,  # a name may hold a dollar sign
    "axes.edgecolor": MUTED_COLOUR,
    "axes.labelcolor": TEXT_COLOUR,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": MUTED_COLOUR,
    "ytick.color": MUTED_COLOUR,
    "xtick.labelcolor": TEXT_COLOUR,
    "ytick.labelcolor": TEXT_COLOUR,
    "grid.color": GRID_COLOUR,
    "grid.linewidth": 0.7,
    "path.simplify": False,
    "savefig.facecolor": "white",
}


def draw_svg(plot: CurvePlot, legend: bool = False) -> str:
    """The plot as an SVG document, without a date."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context(_SETTINGS):
        figure = _draw(plot, legend)
        figure.savefig(buffer, format="svg", transparent=not legend, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def plot_adaptation_curves(rows: Sequence[Row], path: Path | str) -> Path:
    """Draws the adaptation curves of rows of one environment, protocol and track into a PNG, SVG or PDF file.

    Raises:
        UsageError: the rows belong to several tables, there are none, or the file cannot be written.
    """
    from matplotlib import rc_context

    tables = tables_of(rows)
    if len(tables) != 1:
        hint = "choose one environment, protocol and track"
        raise UsageError(f"one plot cannot show {len(tables)} tables of results", hint)
    path = Path(path)
    metadata = {".svg": {"Date": None, "Creator": None}, ".png": {"Software": None}}.get(path.suffix.lower(), {})
    with rc_context(_SETTINGS):
        figure = _draw(curve_plot(tables[0], line_styles(rows)), legend=True)
        try:
            figure.savefig(path, dpi=200, metadata=metadata)
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot write the plot {path}: {error}", "give a .png or .svg file") from error
    return path


def _draw(plot: CurvePlot, legend: bool) -> Figure:
    from matplotlib.figure import Figure

    width, height = _SIZE
    if legend:
        height += _LEGEND_LINE * (len(plot.curves) // _legend_columns(plot) + 1)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    for curve in plot.curves:
        episodes = np.arange(1, len(curve.mean) + 1)
        marker = "o" if len(episodes) == 1 else None
        if curve.low is not None and curve.high is not None:
            axes.fill_between(episodes, curve.low, curve.high, color=curve.style.light, alpha=0.18, linewidth=0)
        (line,) = axes.plot(episodes, curve.mean, color=curve.style.light, linewidth=1.6, marker=marker)
        if curve.style.dashes:
            line.set_dashes(curve.style.dashes)
    _draw_references(axes, plot)
    axes.set_xlabel("episode in the unseen task")
    axes.set_ylabel("return")
    last = plot.num_episodes
    axes.set_xlim((1, last) if last > 1 else (0.5, 1.5))
    axes.set_xticks(_episode_ticks(last))
    if legend:
        axes.set_title(shorten(plot.title, 80), fontsize="medium", loc="left")
        _draw_legend(figure, plot)
    return figure


def _episode_ticks(last: int) -> list[int]:
    """Round episode numbers up to `last`, and 1, the episode without any experience."""
    from matplotlib.ticker import MaxNLocator

    round_ticks = MaxNLocator(nbins=7, integer=True, steps=[1, 2, 5, 10]).tick_values(1, last)
    return [1, *(int(tick) for tick in round_ticks if 1 + 0.06 * last < tick <= last)]


def _draw_references(axes: Axes, plot: CurvePlot) -> None:
    """Floors and oracle as horizontal lines, named in the right margin without running into each other.

    One beyond the plot's range has no line: its name stands at the edge, with its value and an arrow.
    """
    low, high = value_range(plot)
    span = (high - low) or max(abs(high), 1.0)
    values = [reference.value for reference in plot.references]
    bottom = low - (0.06 if min(values) >= low else 0.18) * span
    top = high + (0.06 if max(values) <= high else 0.18) * span
    axes.set_ylim(bottom, top)
    edge = 0.03 * span
    heights = _spread([min(max(value, bottom + edge), top - edge) for value in values], 0.07 * span)
    for reference, height in zip(plot.references, heights, strict=True):
        name = reference.name
        if low <= reference.value <= high:
            style = "-" if reference.kind == "oracle" else "--"
            axes.axhline(reference.value, color=MUTED_COLOUR, linewidth=1.0, linestyle=style)
        else:
            arrow = "↓" if reference.value < low else "↑"
            name = f"{name} {number(reference.value, decimals_for([reference.value]))} {arrow}"
        axes.annotate(
            name,
            xy=(1, height),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=MUTED_COLOUR,
            fontsize="small",
            annotation_clip=False,
        )


def _spread(values: Sequence[float], distance: float) -> list[float]:
    """Heights near `values`, in their order, at least `distance` apart: neighbours that are too close share a centre."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    blocks: list[tuple[float, list[int]]] = []  # centre, members from the lowest up
    for index in order:
        blocks.append((values[index], [index]))
        while len(blocks) > 1 and _top(blocks[-2], distance) + distance > _bottom(blocks[-1], distance) + 1e-12:
            _, upper = blocks.pop()
            _, lower = blocks.pop()
            members = lower + upper
            blocks.append((sum(values[each] for each in members) / len(members), members))
    heights = [0.0] * len(values)
    for centre, members in blocks:
        for position, index in enumerate(members):
            heights[index] = centre + (position - (len(members) - 1) / 2) * distance
    return heights


def _top(block: tuple[float, list[int]], distance: float) -> float:
    return block[0] + (len(block[1]) - 1) / 2 * distance


def _bottom(block: tuple[float, list[int]], distance: float) -> float:
    return block[0] - (len(block[1]) - 1) / 2 * distance


def _legend_names(plot: CurvePlot) -> list[str]:
    return [shorten(curve.label, 60) for curve in plot.curves]


def _legend_columns(plot: CurvePlot) -> int:
    longest = max(map(len, _legend_names(plot)))
    return max(1, min(len(plot.curves), 64 // (longest + 8)))


def _draw_legend(figure: Figure, plot: CurvePlot) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for curve in plot.curves:
        handle = Line2D([], [], color=curve.style.light, linewidth=1.6)
        if curve.style.dashes:
            handle.set_dashes(curve.style.dashes)
        handles.append(handle)
    names = _legend_names(plot)
    columns = _legend_columns(plot)
    legend = figure.legend(
        handles, ["·"] * len(handles), frameon=False, fontsize="small", loc="outside lower center", ncols=columns
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)  # given as a label, a name that begins with "_" would be left out
