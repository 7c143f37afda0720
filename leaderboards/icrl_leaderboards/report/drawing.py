"""Drawings as SVG text: marks carry classes, never colours, so the page's style sheet rules light, dark and print.

Nothing here knows what is drawn. Every text goes through `text.visible` and is escaped, every number has one decimal, and ids
begin with the drawing's name, so equal data give equal bytes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from icrl_leaderboards.wording.text import visible

Point = tuple[float, float]

#: Width of a character in units of the font size, for fonts nobody has measured: generous for Latin text.
_CHARACTER = 0.6


@dataclass
class Drawing:
    """An SVG picture that is filled mark by mark. The origin is at the top left, y grows downwards."""

    width: float
    height: float
    parts: list[str] = field(default_factory=list)

    def line(self, start: Point, end: Point, classes: str, dashes: Sequence[float] = ()) -> None:
        """A straight line."""
        ends = f'x1="{_n(start[0])}" y1="{_n(start[1])}" x2="{_n(end[0])}" y2="{_n(end[1])}"'
        self.parts.append(f'<line {ends} class="{classes}"{_dashes(dashes)}/>')

    def path(self, points: Sequence[Point], classes: str, dashes: Sequence[float] = ()) -> None:
        """A line through `points`."""
        self.parts.append(f'<path d="{_commands(points)}" class="{classes}"{_dashes(dashes)}/>')

    def area(self, upper: Sequence[Point], lower: Sequence[Point], classes: str) -> None:
        """The area between two lines."""
        self.parts.append(f'<path d="{_commands([*upper, *reversed(lower)])}Z" class="{classes}"/>')

    def circle(self, centre: Point, radius: float, classes: str) -> None:
        """A dot."""
        self.parts.append(f'<circle cx="{_n(centre[0])}" cy="{_n(centre[1])}" r="{_n(radius)}" class="{classes}"/>')

    def text(self, place: Point, content: str, classes: str = "", anchor: str = "start", turned: bool = False) -> None:
        """A line of text whose middle is at the height of `place`; `turned` by 90° against the clock."""
        x, y = _n(place[0]), _n(place[1])
        attributes = f' class="{classes}"' if classes else ""
        attributes += f' text-anchor="{anchor}"' if anchor != "start" else ""
        attributes += f' transform="rotate(-90 {x} {y})"' if turned else ""
        self.parts.append(
            f'<text x="{x}" y="{y}" dy=".35em"{attributes}>{escape(visible(content), quote=False)}</text>'
        )

    def begin_group(self, classes: str = "", **data: str) -> None:
        """Begins a group; `data` becomes `data-…` attributes, by which the page's filter finds it."""
        attributes = f' class="{classes}"' if classes else ""
        for name, value in data.items():
            attributes += f' data-{name}="{escape(visible(value))}"'
        self.parts.append(f"<g{attributes}>")

    def begin_clip(self, name: str, corner: Point, opposite: Point) -> None:
        """Begins a group that shows nothing outside of a rectangle; `name` is the clip's id."""
        size = f'width="{_n(opposite[0] - corner[0])}" height="{_n(opposite[1] - corner[1])}"'
        rectangle = f'<rect x="{_n(corner[0])}" y="{_n(corner[1])}" {size}/>'
        self.parts.append(f'<clipPath id="{name}">{rectangle}</clipPath><g clip-path="url(#{name})">')

    def end_group(self) -> None:
        """Ends the innermost group."""
        self.parts.append("</g>")

    def to_svg(self, name: str, title: str, description: str, classes: str = "plot") -> str:
        """The `<svg>` element, with a text alternative; `name` begins its ids."""
        labels = f'role="img" aria-labelledby="{name}-title {name}-desc"'
        box = f'viewBox="0 0 {_n(self.width)} {_n(self.height)}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {box} {labels} class="{classes}">'
            f'<title id="{name}-title">{escape(visible(title), quote=False)}</title>'
            f'<desc id="{name}-desc">{escape(visible(description), quote=False)}</desc>'
            f"{''.join(self.parts)}</svg>"
        )


def text_width(content: str, size: float) -> float:
    """About how wide a line of text is, in the unit of the font size."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in content)
    return (len(content) * _CHARACTER + wide * (1.0 - _CHARACTER)) * size


def steps(points: Iterable[Point]) -> list[Point]:
    """A staircase that keeps each height until the next point."""
    stairs: list[Point] = []
    for x, y in points:
        if stairs:
            stairs.append((x, stairs[-1][1]))
        stairs.append((x, y))
    return stairs


def _commands(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _dashes(dashes: Sequence[float]) -> str:
    return f' stroke-dasharray="{" ".join(_n(each) for each in dashes)}"' if dashes else ""


def _n(value: float) -> str:
    """A coordinate: at most one decimal, no trailing zero, no −0."""
    text = f"{round(value, 1) + 0.0:.1f}"
    return text.removesuffix(".0")
