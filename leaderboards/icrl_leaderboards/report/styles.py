"""How each row of a leaderboard is drawn: a colour and a dash pattern that follow from its name, on every page the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from icrl_leaderboards.analysis.summary import Row
from icrl_leaderboards.wording.text import shorten, visible

#: Colours on a light and on a dark ground. They differ for eyes without one of the three kinds of cones too, and each has a
#: contrast of at least 4.5 : 1 to its ground, since names are written in them; tests hold both.
COLOURS = (
    ("#0064c8", "#4f9ff7"),  # blue
    ("#cf480c", "#d97a3a"),  # vermilion
    ("#08704f", "#4ff0a0"),  # green
    ("#bf2f9c", "#f050b0"),  # magenta
    ("#5a3a00", "#ecd024"),  # brown, yellow
    ("#1d2733", "#f2f4f8"),  # ink
)
#: Dash patterns in units of the drawing; a second way to tell lines apart, used once all colours are taken.
DASHES: tuple[tuple[float, ...], ...] = ((), (8, 3), (2.5, 2.5), (9, 2.5, 2.5, 2.5))
#: Shades of one hue for the values of one setting, from the smallest to the largest, on a light and on a dark ground.
SHADES = (
    ("#7fadd1", "#2f5f86"),
    ("#5b97c4", "#3b77a6"),
    ("#3481b6", "#4b90c3"),
    ("#14699f", "#69aadb"),
    ("#0b517e", "#94c6ec"),
    ("#073756", "#c6e3f8"),
)
#: Fixed slots for methods that are often shown together, so that they look the same in every report.
FAMILIAR = {
    "ad-mamba": 0,
    "ad-dt": 1,
    "macaw": 2,
    "mql": 3,
    "ad-gru": 4,
    "source": 5,
    "ad-lstm": 10,
    "task-blind": 11,
}
#: Characters of a name on the page.
NAME_LIMIT = 60
#: The method that is the source algorithm itself, trained on the test task: a reference, not a competitor.
SOURCE_METHOD = "source"


@dataclass(frozen=True)
class LineStyle:
    """How one row is drawn: an index into `COLOURS` (or `SHADES`) and one into `DASHES`."""

    colour: int
    dash: int = 0
    palette: str = "line"  # "line" for `COLOURS`, "shade" for `SHADES`

    @property
    def dashes(self) -> tuple[float, ...]:
        """The dash pattern; empty for a solid line."""
        return DASHES[self.dash]

    @property
    def stroke(self) -> str:
        """The class of a line."""
        return f"stroke-{self.palette}-{self.colour}"

    @property
    def fill(self) -> str:
        """The class of an area, a dot or a text."""
        return f"fill-{self.palette}-{self.colour}"


def line_styles(rows: Iterable[Row]) -> dict[str, LineStyle]:
    """A style for every row label. It depends on the label first and on the others only where two want the same."""
    styles: dict[str, LineStyle] = {}
    taken: set[int] = set()
    methods = {row.label: row.head.method for row in rows}
    for label in sorted(methods, key=lambda each: (each not in FAMILIAR, methods[each] not in FAMILIAR, each)):
        preferred = FAMILIAR.get(label, _preferred_colour(methods[label]))
        if len(taken) == len(COLOURS) * len(DASHES):
            taken.clear()  # more labels than styles: they repeat
        slots = _dashes_of(preferred) if label != methods[label] else _slots_from(preferred)
        slot = next((each for each in slots if each not in taken), preferred)
        taken.add(slot)
        styles[label] = LineStyle(slot % len(COLOURS), slot // len(COLOURS))
    return styles


def brief_label(row: Row, limit: int = 16) -> str:
    """The row's name where there is little room: its method, and the values of its settings without their names."""
    values = [setting.partition("=")[2] for setting in row.settings]
    return cut(" ".join([row.head.method, *values]), limit)


def cut(text: str, limit: int) -> str:
    """The beginning of a text in at most `limit` characters; the whole of it stands elsewhere on the page."""
    shown = visible(text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def series_name(row: Row) -> str:
    """The row's method, as marks of a drawing name it for the page's filter."""
    return shorten(row.head.method, NAME_LIMIT)


def is_source(row: Row) -> bool:
    """Whether the row is the source algorithm, trained on the test tasks."""
    return row.head.method == SOURCE_METHOD


def _slots_from(preferred: int) -> Iterator[int]:
    """All slots from the preferred one on: the colours at its dash first, then those at the other dashes."""
    for dash in range(len(DASHES)):
        for step in range(len(COLOURS)):
            yield (preferred // len(COLOURS) + dash) % len(DASHES) * len(COLOURS) + (preferred + step) % len(COLOURS)


def _dashes_of(preferred: int) -> Iterator[int]:
    """The slots of one colour: a variant keeps its method's colour and takes another dash while there is one."""
    for dash in range(len(DASHES)):
        yield (preferred + dash * len(COLOURS)) % (len(COLOURS) * len(DASHES))


def _preferred_colour(method: str) -> int:
    if method in FAMILIAR:
        return FAMILIAR[method]
    return hashlib.sha256(method.encode("utf-8", "surrogatepass")).digest()[0] % len(COLOURS)
