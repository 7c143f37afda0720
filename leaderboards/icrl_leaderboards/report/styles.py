"""How each row of a leaderboard is drawn: a colour and a dash pattern that follow from its name, on every page the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from icrl_leaderboards.analysis.summary import Row, Table
from icrl_leaderboards.drawing import COLOURS, SHADES
from icrl_leaderboards.wording.text import shorten, visible

#: Dash patterns in points; a second way to tell lines apart, used once all colours are taken.
DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2.2), (2, 2), (7, 2, 2, 2))
#: Fixed slots for methods that are often shown together, so that they look the same in every report.
FAMILIAR = {
    "ad-mamba": 0,
    "ad-dt": 1,
    "macaw": 2,
    "mql": 3,
    "dpt-mamba": 4,
    "source": 5,
    "dpt-dt": 6,
    "task-blind": 7,
}
#: Characters of a name on the page.
NAME_LIMIT = 60
#: The method that is the source algorithm itself, trained on the test task: a reference, not a competitor.
SOURCE_METHOD = "source"
#: The colours of methods; the source's is its own.
_METHOD_COLOURS = tuple(index for index in range(len(COLOURS)) if index != FAMILIAR[SOURCE_METHOD])


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
    def pattern(self) -> str | tuple[float, tuple[float, ...]]:
        """The dash pattern as matplotlib has it."""
        return (0.0, self.dashes) if self.dashes else "-"

    @property
    def colour_code(self) -> str:
        """The colour on a light ground, such as `#0064c8`."""
        return (COLOURS if self.palette == "line" else SHADES)[self.colour][0]


def line_styles(rows: Iterable[Row]) -> dict[str, LineStyle]:
    """A style for every row label. It depends on the label first and on the others only where two want the same.

    No method has the colour of the source. The rows are best expected first: where there are more methods than colours, the
    later ones share a colour and differ by their dashes.
    """
    styles: dict[str, LineStyle] = {}
    taken: set[tuple[int, int]] = set()
    methods = {row.label: row.head.method for row in rows}
    familiar = [label for label in methods if methods[label] in FAMILIAR]
    own = dict.fromkeys(methods[label] for label in sorted(familiar, key=lambda each: (each not in FAMILIAR, each)))
    colours = _method_colours([*own, *dict.fromkeys(each for each in methods.values() if each not in FAMILIAR)])
    for label in sorted(methods, key=lambda each: (each != methods[each], each)):  # a method before its variants
        colour, dash = colours[methods[label]]
        slots = [(colour, (dash + step) % len(DASHES)) for step in range(len(DASHES))]
        slot = next((each for each in slots if each not in taken), slots[0])
        taken.add(slot)
        styles[label] = LineStyle(*slot)
    return styles


def styles_of_table(table: Table, styles: Mapping[str, LineStyle]) -> Mapping[str, LineStyle]:
    """`styles`, or others if two of the table's best methods would have one colour."""
    methods = {row.head.method: styles.get(row.label) for row in reversed(table.rows)}
    best = list(dict.fromkeys(row.head.method for row in table.rows))[: len(_METHOD_COLOURS)]
    colours = [style.colour if (style := methods[method]) else None for method in best]
    return styles if len(set(colours)) == len(colours) and None not in colours else line_styles(table.rows)


def brief_label(row: Row, limit: int = NAME_LIMIT) -> str:
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


def _method_colours(methods: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Each method's colour and dash: familiar methods have theirs, others one that their name chooses among the free."""
    chosen = {each: (FAMILIAR[each], 0) for each in methods if each in FAMILIAR}
    taken = set(chosen.values())
    for method in methods:
        if method in chosen:
            continue
        first = hashlib.sha256(method.encode("utf-8", "surrogatepass")).digest()[0] % len(_METHOD_COLOURS)
        order = _METHOD_COLOURS[first:] + _METHOD_COLOURS[:first]
        slots = [(colour, dash) for dash in range(len(DASHES)) for colour in order]
        chosen[method] = next((each for each in slots if each not in taken), slots[0])
        taken.add(chosen[method])
    return chosen
