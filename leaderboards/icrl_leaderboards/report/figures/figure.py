"""A figure of the report: how it is drawn, what it says in words, and the numbers behind it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from icrl_leaderboards.analysis.statistics.intervals import Estimate
from icrl_leaderboards.drawing import drawing_style, save, to_svg, write
from icrl_leaderboards.report.figures.canvas import Canvas
from icrl_leaderboards.wording.formatting import MISSING, number
from icrl_leaderboards.wording.text import shorten

#: A number, a number with the ends of its interval, a text, or nothing.
Cell = float | tuple[float, float, float] | str | None


@dataclass(frozen=True)
class Numbers:
    """The numbers behind a figure."""

    caption: str
    header: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]
    writers: tuple[Callable[[float], str], ...]  # how each column's numbers are written for people

    @property
    def as_text(self) -> list[list[str]]:
        """The lines as people read them: `2.31 [1.90, 2.72]`."""
        return [[_written(*pair) for pair in zip(line, self.writers, strict=True)] for line in self.lines]

    def as_csv(self) -> str:
        """The lines in full precision; an interval's ends have columns of their own, `NAME low` and `NAME high`."""
        ranged = [any(isinstance(line[index], tuple) for line in self.lines) for index in range(len(self.header))]
        names = zip(self.header, ranged, strict=True)
        header = [[name, f"{name} low", f"{name} high"] if wide else [name] for name, wide in names]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([name for names in header for name in names])
        for line in self.lines:
            cells: list[object] = []
            for cell, wide in zip(line, ranged, strict=True):
                values = list(cell) if isinstance(cell, tuple) else [cell, None, None] if wide else [cell]
                cells += ["" if value is None or _is_nan(value) else value for value in values]
            writer.writerow(cells)
        return text.getvalue()


def decimals(digits: int) -> Callable[[float], str]:
    """Writes numbers with so many decimals."""
    return lambda value: number(value, digits)


def estimate_cell(estimate: Estimate | None) -> Cell:
    """An estimate with its interval, where it has one."""
    if estimate is None:
        return MISSING
    ends = estimate.interval
    return (estimate.value, ends.low, ends.high) if ends else estimate.value


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _written(cell: Cell, write: Callable[[float], str]) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if not isinstance(cell, tuple):
        return write(cell)
    value, low, high = cell
    return f"{write(value)} [{write(low)}, {write(high)}]"


@dataclass(frozen=True, eq=False)
class Figure:
    """One figure of a report with everything that belongs to it."""

    name: str  # its id on the page and its file
    heading: str  # a few words that stand above it
    subject: str  # of which environment, protocol and track
    description: str  # the text alternative: what a reader who does not see the drawing should know
    caption: str
    numbers: Numbers
    size: tuple[float, float]  # width and height in inches
    draw: Callable[[Canvas], None]
    footnotes: Sequence[str] = field(default=())  # stand in the drawing: what its dots and its band are

    @property
    def title(self) -> str:
        """What it shows and of what, for whoever meets it alone."""
        return f"{self.heading}: {shorten(self.subject, 120)}"

    @cached_property
    def svg(self) -> str:
        """The figure as an SVG document."""
        with drawing_style():
            canvas = self.canvas()
            return to_svg(canvas.figure, self.name, (self.title, self.description), canvas.series)

    def canvas(self, width: float | None = None, labels: Mapping[str, str] | None = None) -> Canvas:
        """The figure, drawn, at another width in inches and with other words for names; within `drawing_style`."""
        canvas = Canvas(self.size, width or self.size[0], self.footnotes, labels or {})
        self.draw(canvas)
        return canvas

    def save(
        self,
        path: Path,
        width: float | None = None,
        font: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Writes the figure as SVG, PDF or PNG, as the file's name says, and its numbers as CSV beside it."""
        with drawing_style(font):
            canvas = self.canvas(width, labels)
            save(canvas.figure, path, (self.title, self.description), canvas.series)
        write(path.with_suffix(".csv"), self.numbers.as_csv().encode())
