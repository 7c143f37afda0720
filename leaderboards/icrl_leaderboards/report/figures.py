"""A figure of the report: a drawing, what it says in words, and the numbers behind it. And the frame that plots share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from icrl_leaderboards.report.drawing import Drawing, text_width
from icrl_leaderboards.report.scales import Scale
from icrl_leaderboards.wording.formatting import number
from icrl_leaderboards.wording.text import shorten

LABEL_SIZE = 12.0  # of the texts in a drawing, as the style sheet has it
LINE_HEIGHT = 13.5


@dataclass(frozen=True)
class Numbers:
    """The numbers behind a drawing, as a table of text."""

    caption: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Figure:
    """One drawing of a report with everything that belongs to it."""

    name: str  # its id on the page and, in the Markdown report, its file
    heading: str  # a few words that stand above it
    subject: str  # of which environment, protocol and track
    description: str  # the text alternative: what a reader who does not see the drawing should know
    caption: str
    drawing: Drawing
    numbers: Numbers

    @property
    def title(self) -> str:
        """What it shows and of what, for whoever meets it alone."""
        return f"{self.heading}: {shorten(self.subject, 120)}"

    @property
    def svg(self) -> str:
        """The drawing as an element of the page."""
        return self.drawing.to_svg(self.name, self.title, self.description)


@dataclass(frozen=True)
class Box:
    """The rectangle of a drawing that holds the data."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Axis:
    """A scale with its ticks, how they are written, and what the axis shows."""

    scale: Scale
    ticks: Sequence[float]
    write: Callable[[float], str]
    title: str


def left_margin(labels: Sequence[str]) -> float:
    """Room for the tick labels of a vertical axis."""
    return max((text_width(label, LABEL_SIZE) for label in labels), default=0.0) + 12


def draw_frame(drawing: Drawing, box: Box, x: Axis, y: Axis, title_height: float = 8) -> None:
    """Horizontal grid lines with their numbers, ticks below, and the names of both axes."""
    drawing.text((0, title_height), y.title, "fill-muted")
    for value in y.ticks:
        height = y.scale(value)
        drawing.line((box.left, height), (box.right, height), "stroke-grid")
        drawing.text((box.left - 6, height), y.write(value), "fill-muted", "end")
    drawing.line((box.left, box.bottom), (box.right, box.bottom), "stroke-axis")
    edge = -1.0
    for value in x.ticks:
        place, label = x.scale(value), x.write(value)
        drawing.line((place, box.bottom), (place, box.bottom + 4), "stroke-axis")
        half = text_width(label, LABEL_SIZE) / 2
        if place - half > edge:  # numbers that would run into each other are left out
            drawing.text((place, box.bottom + 13), label, "fill-muted", "middle")
            edge = place + half + 4
    drawing.text(((box.left + box.right) / 2, drawing.height - 8), x.title, "fill-muted", "middle")


def draw_key(drawing: Drawing, entries: Sequence[tuple[str, str, str]], left: float, top: float) -> float:
    """Dots with their names in lines of text, for (name, class, series); returns where the last line ends."""
    x, y = left, top
    for name, classes, series in entries:
        width = 14 + text_width(name, LABEL_SIZE) + 8
        if x > left and x + width > drawing.width:
            x, y = left, y + LINE_HEIGHT + 2
        drawing.begin_group("series", series=series)
        drawing.circle((x + 5, y), 3.6, classes)
        drawing.text((x + 13, y), name, f"name {classes}")
        drawing.end_group()
        x += width
    return y + LINE_HEIGHT / 2


def write_ticks(ticks: Sequence[float]) -> Callable[[float], str]:
    """How the ticks of a linear axis are written: with as many decimals as they need to differ and be exact."""
    distance = min((abs(after - before) for before, after in pairwise(ticks)), default=0.0) or abs(ticks[0]) or 1.0
    for decimals in range(12):
        if all(abs(round(tick, decimals) - tick) <= 1e-6 * distance for tick in ticks):
            break
    return lambda value: number(value, decimals)
