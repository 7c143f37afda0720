"""Lists at any width: every word whole, numbers at the right, prose wrapped."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from icrl_leaderboards.terminal.listing import block_lines, print_listing, table_lines

COLUMNS = ("setting", "default", "description")
ROWS = [
    ["method.updates", "1500", "how many updates"],
    [
        "method.context_length",
        '"full"',
        "environment steps in a context; full: all of the episodes that are chosen for it",
    ],
]


def test_a_table_where_it_fits():
    assert table_lines(COLUMNS, ROWS, 70) == [
        "setting                default  description",
        "method.updates         1500     how many updates",
        'method.context_length  "full"   environment steps in a context; full:',
        "                                all of the episodes that are chosen",
        "                                for it",
    ]
    assert table_lines(COLUMNS, ROWS, 50) is None  # the prose would be a list of words


def test_a_block_where_it_does_not():
    assert block_lines(COLUMNS, ROWS[1], 40) == [
        "method.context_length",
        '  default      "full"',
        "  description  environment steps in a",
        "               context; full: all of the",
        "               episodes that are chosen",
        "               for it",
    ]


def test_numbers_stand_at_the_right():
    lines = table_lines(("name", "size"), [["a", "9 MB"], ["b", "120 MB"]], 40, right=("size",))
    assert lines == ["name    size", "a       9 MB", "b     120 MB"]


@pytest.mark.parametrize("width", [30, 45, 60, 80, 200])
def test_no_word_is_cut(width):
    stream = io.StringIO()
    print_listing(COLUMNS, ROWS, Console(file=stream, width=width, color_system=None), title="[bold]Settings[/bold]")
    words = stream.getvalue().split()
    for row in ROWS:
        for word in " ".join(row).split():
            assert word in words
    assert "[bold]Settings[/bold]" in words
    assert all(len(line) <= width or " " not in line.strip() for line in stream.getvalue().splitlines())
