"""A list of things with a few columns, at any width: a table where it fits, otherwise one block a thing. No word is cut.

Identifiers are never broken; prose is wrapped at its blanks. A word that is wider than the terminal is the only thing that
leaves it, since half an address cannot be copied.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from icrl_leaderboards.wording.text import visible

if TYPE_CHECKING:
    from rich.console import Console

GAP = 2
NARROWEST_PROSE = 28  # columns; prose in fewer is a list of words


def print_listing(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    console: Console | None = None,
    right: Sequence[str] = (),
    title: str = "",
) -> None:
    """Prints `rows`, each with a text for each of `columns`; those named in `right` are numbers and stand at the right.

    The last column may hold prose. Everything is put in as plain text, never as markup.
    """
    from rich.console import Console
    from rich.text import Text

    console = console or Console(highlight=False)
    if title:
        _print(console, Text(visible(title), style="bold"))
    shown = [[visible(cell) for cell in row] for row in rows]
    lines = table_lines(columns, shown, console.width, right)
    if lines is not None:
        _print(console, Text(lines[0], style="bold"))
        for line in lines[1:]:
            _print(console, Text(line))
        return
    for row in shown:
        for index, line in enumerate(block_lines(columns, row, console.width)):
            _print(console, Text(line, style="bold" if index == 0 else ""))


def table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, right: Sequence[str] = ()
) -> list[str] | None:
    """The header and all rows as lines of a table, or None where `width` is too narrow for one."""
    widths = [max(len(row[index]) for row in [columns, *rows]) for index in range(len(columns))]
    fixed = sum(widths[:-1]) + GAP * (len(columns) - 1)
    last = max(widths[-1], 1)
    if fixed + last > width:
        last = width - fixed
        longest = max((len(word) for row in [columns, *rows] for word in row[-1].split()), default=0)
        if last < max(NARROWEST_PROSE, longest) or columns[-1] in right:
            return None
    lines = []
    for row in [columns, *rows]:
        parts = wrapped(row[-1], last) or [""]
        cells = [
            cell.rjust(size) if name in right else cell.ljust(size)
            for name, cell, size in zip(columns, row, [*widths[:-1], 0], strict=True)
        ][:-1]
        final = [part.rjust(last) if columns[-1] in right else part for part in parts]
        lines.append((" " * GAP).join([*cells, final[0]]).rstrip())
        lines += [" " * (fixed) + part for part in final[1:]]
    return lines


def block_lines(columns: Sequence[str], row: Sequence[str], width: int) -> list[str]:
    """One thing as a block: its first cell, then a line or more for each of the others that says something."""
    indent = GAP + max(len(column) for column in columns[1:]) + GAP if len(columns) > 1 else GAP
    lines = [row[0]]
    for column, cell in zip(columns[1:], row[1:], strict=True):
        if not cell:
            continue
        head = f"{' ' * GAP}{column}".ljust(indent)
        parts = wrapped(cell, max(width - indent, 1))
        lines += [f"{head}{parts[0]}", *(" " * indent + part for part in parts[1:])]
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns; a longer word has a line of its own."""
    lines = []
    for paragraph in text.split("\n"):
        lines += textwrap.wrap(paragraph, max(width, 1), break_long_words=False, break_on_hyphens=False) or [""]
    return lines


def _print(console: Console, text: object) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)
