"""What figures are drawn on: one plot whose margins follow from the texts around it, so that no name is cut or drawn over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from icrl_leaderboards.drawing import AXIS, FONT_SIZE, MUTED
from icrl_leaderboards.report.scales import spread_within
from icrl_leaderboards.report.styles import LineStyle, cut
from icrl_leaderboards.wording.formatting import number

_LINE = 1.35 * FONT_SIZE / 72  # inches from one line of text to the next
_EDGE = 0.04
_NOTE_SIZE = 7.5
#: The share of the width that names beside the curves may take; longer ones stand above the plot.
_LABEL_SHARE = 0.36


@dataclass(frozen=True)
class Axis:
    """The range of an axis, its ticks, how they are written, and what it shows."""

    low: float
    high: float
    ticks: Sequence[float]
    write: Callable[[float], str]
    title: str
    logarithmic: bool = False

    @property
    def shown(self) -> list[float]:
        """The ticks within the axis, whichever way it runs."""
        return [each for each in self.ticks if min(self.low, self.high) <= each <= max(self.low, self.high)]


@dataclass(frozen=True)
class Label:
    """A name at the right edge: of a curve that ends at `end`, or of a line across the plot."""

    text: str
    value: float
    colour: str
    series: str = ""
    end: float | None = None
    style: LineStyle | None = None


class Canvas:
    """A figure with one plot in it. Lengths are inches.

    Attributes:
        figure: matplotlib's figure.
        axes: the plot; curves, dots and bands are drawn with matplotlib's own methods.
        series: the names behind the gids of `gid`.
    """

    def __init__(
        self, size: tuple[float, float], width: float, footnotes: Sequence[str], labels: Mapping[str, str]
    ) -> None:
        from matplotlib.figure import Figure

        self.width, self.height = width, size[1] * max(0.8, min(1.25, width / size[0]))
        self.figure = Figure(figsize=(self.width, self.height))
        self.axes: Any = self.figure.add_axes((0.1, 0.1, 0.8, 0.8))
        self.series: list[str] = []
        self._labels = labels
        self._notes = [line for note in footnotes for line in self._wrapped(note)]
        self._top = 0.02

    def gid(self, series: str) -> str:
        """What marks an artist as one of a method, by which the page's filter finds it."""
        if series not in self.series:
            self.series.append(series)
        return f"series-{self.series.index(series)}"

    def word(self, name: str) -> str:
        """A name as the user wants it to be written."""
        return self._labels.get(name, name)

    def key(self, entries: Sequence[tuple[str, LineStyle, str]], dots: bool = True) -> None:
        """Dots, or pieces of line, with their names above the plot, for (name, style, series)."""
        x, y, mark = _EDGE, self._top + _LINE / 2, 0.12 if dots else 0.3
        for name, style, series in entries:
            text = self.fitted(self.word(name), self.width - mark - 0.1)
            wide = mark + 0.05 + self.text_width(text)
            if x > _EDGE and x + wide > self.width:
                x, y = _EDGE, y + _LINE
            gid, place = self.gid(series), self._place(x + mark / 2, y)
            if dots:
                self._line([place[0]], [place[1]], marker="o", color=style.colour_code, gid=gid)
            else:
                ends = [self._place(x, y)[0], self._place(x + mark, y)[0]]
                self._line(ends, [place[1]] * 2, color=style.colour_code, linestyle=style.pattern, gid=gid)
            self.text(x + mark + 0.05, y, text, style.colour_code, gid=gid)
            x += wide + 0.14
        self._top = y + _LINE / 2 + 0.06

    def frame(self, x: Axis, y: Axis, labels: Sequence[Label] = ()) -> None:
        """Places the plot between the texts around it and draws its axes, the names at its right edge and the footnotes."""
        widest = max((self.text_width(self.word(each.text)) for each in labels), default=0.0)
        if widest > _LABEL_SHARE * self.width:  # no room beside the plot: methods go above it, lines keep their words
            self.key([(each.text, each.style, each.series) for each in labels if each.style], dots=False)
            labels = [each for each in labels if not each.style]
            widest = min(max((self.text_width(each.text) for each in labels), default=0.0), 0.45 * self.width)
        left = max((self.text_width(y.write(tick)) for tick in y.ticks), default=0.0) + 0.14
        right = self.width - (widest + 0.2 if widest else 0.1)
        top = self._top + (_LINE + 0.04 if y.title else 0.04)
        notes = len(self._notes) * _NOTE_SIZE * 1.3 / 72
        bottom = self.height - 0.42 - notes - (0.02 if notes else 0)
        self.axes.set_position(
            ((left / self.width), 1 - bottom / self.height, (right - left) / self.width, (bottom - top) / self.height)
        )
        self._axis(self.axes.xaxis, x)
        self._axis(self.axes.yaxis, y)
        self._thin_out(x, right - left)
        self.axes.grid(visible=False, axis="x")
        self.axes.spines["left"].set_visible(False)
        self.axes.tick_params(axis="y", length=0)
        self.text(_EDGE, self._top + _LINE / 2, y.title, MUTED)
        self.text((left + right) / 2, bottom + 0.32, x.title, MUTED, align="center")
        for index, note in enumerate(self._notes):
            place = self.height - notes + (index + 0.5) * _NOTE_SIZE * 1.3 / 72 - 0.01
            self.text(_EDGE, place, note, MUTED, size=_NOTE_SIZE)
        self._label_curves(labels, (left, right, top, bottom), x, y)

    def text(self, x: float, y: float, text: str, colour: str, align: str = "left", **more: Any) -> None:
        """A line of text whose middle is at a height `y` below the top of the figure."""
        place = self._place(x, y)
        size = more.pop("size", FONT_SIZE)
        self.figure.text(*place, text, color=colour, ha=align, va="center_baseline", fontsize=size, **more)

    def text_width(self, text: str, size: float = FONT_SIZE) -> float:
        """How wide a line of text is."""
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import text_to_path

        wide: float = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0]
        return wide / 72

    def fitted(self, text: str, width: float) -> str:
        """The text, cut if there is no room for it."""
        if self.text_width(text[:400]) <= width and len(text) <= 400:
            return text
        limit = next(n for n in range(min(len(text), 400), 0, -1) if n == 1 or self.text_width(cut(text, n)) <= width)
        return cut(text, limit)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        return x / self.width, 1 - y / self.height

    def _line(self, x: Sequence[float], y: Sequence[float], **style: Any) -> None:
        from matplotlib.lines import Line2D

        self.figure.add_artist(Line2D(x, y, transform=self.figure.transFigure, **style))

    def _wrapped(self, note: str) -> list[str]:
        lines = [""]
        for word in note.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and self.text_width(longer, _NOTE_SIZE) > self.width - 2 * _EDGE:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines

    def _axis(self, side: Any, axis: Axis) -> None:
        from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

        is_x = side.axis_name == "x"
        (self.axes.set_xscale if is_x else self.axes.set_yscale)("log" if axis.logarithmic else "linear")
        (self.axes.set_xlim if is_x else self.axes.set_ylim)(axis.low, axis.high)
        side.set_major_locator(FixedLocator(axis.shown))
        side.set_minor_locator(NullLocator())
        side.set_major_formatter(FuncFormatter(lambda value, _: axis.write(value)))

    def _thin_out(self, axis: Axis, width: float) -> None:
        """Numbers that would run into each other are left out; their ticks stay."""
        from matplotlib.ticker import FixedFormatter

        to_share = self.axes.transLimits.transform
        scale = self.axes.transScale.transform
        edge, written = -1.0, []
        for tick in axis.shown:
            text = axis.write(tick)
            place = to_share(scale((tick, self.axes.get_ylim()[0])))[0] * width
            half = self.text_width(text) / 2
            written.append(text if place - half > edge else "")
            edge = place + half + 0.05 if written[-1] else edge
        self.axes.xaxis.set_major_formatter(FixedFormatter(written))

    def _label_curves(self, labels: Sequence[Label], box: tuple[float, float, float, float], x: Axis, y: Axis) -> None:
        """Names beneath each other without touching; a thin line leads to a name from the end of its curve."""
        if not labels:
            return
        _, right, top, bottom = box
        wanted = [bottom - (bottom - top) * (each.value - y.low) / (y.high - y.low) for each in labels]
        heights = spread_within(wanted, _LINE, top, bottom - 0.02)
        for label, want, height in zip(labels, wanted, heights, strict=True):
            want = min(max(want, top), bottom)
            gid = self.gid(label.series) if label.series else None
            reaches = label.end is None or label.end >= x.high - 0.01 * (x.high - x.low)
            if abs(want - height) > 0.04 and reaches:
                ends = [self._place(place, level) for place, level in ((right, want), (right + 0.11, height))]
                self._line(*zip(*ends, strict=True), color=AXIS, linewidth=0.6, gid=gid)
            self.text(
                right + 0.14, height, self.fitted(self.word(label.text), self.width - right), label.colour, gid=gid
            )


def write_ticks(ticks: Sequence[float]) -> Callable[[float], str]:
    """How the ticks of a linear axis are written: with as many decimals as they need to differ and be exact."""
    distance = min((abs(after - before) for before, after in pairwise(ticks)), default=0.0) or abs(ticks[0]) or 1.0
    for decimals in range(12):
        if all(abs(round(tick, decimals) - tick) <= 1e-6 * distance for tick in ticks):
            break
    return lambda value: number(value, decimals)
