"""Names become text: nothing invisible, nothing that a terminal or Markdown would act on."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from icrl_leaderboards.wording.text import latex, markdown, shorten, visible


class Cells(HTMLParser):
    """The text of every table cell, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data.rstrip("\n")


def rendered_cell(source: str) -> Cells:
    """`source` as the only cell of a Markdown table, by a renderer that lets HTML and bare addresses through."""
    renderer = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    parser = Cells()
    parser.feed(renderer.render(f"| a | b |\n| :-- | :-- |\n| {source} | end |\n"))
    return parser


def test_visible_leaves_ordinary_text_alone():
    assert visible("ad-mamba, θ → שלום, naïve") == "ad-mamba, θ → שלום, naïve"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\r\nb\tc\x00", "a\\x0d\\x0ab\\x09c\\x00"),
        ("a\u202eb\u200b\u2028", "a\\u202eb\\u200b\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("e" + "\u0301" * 5, "e" + "\u0301" * 3 + "\\u0301\\u0301"),
    ],
)
def test_what_cannot_be_seen_is_spelt_out(text, shown):
    assert visible(text) == shown


@settings(derandomize=True, deadline=None)
@given(st.text())
def test_visible_text_has_no_controls_and_stays_so(text):
    shown = visible(text)
    assert not {unicodedata.category(each) for each in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert visible(shown) == shown


def test_long_names_are_cut_and_told_apart():
    first, second = shorten("x" * 10_000 + "1", 60), shorten("x" * 10_000 + "2", 60)
    assert len(first) <= 60
    assert "(10,001 characters, #" in first
    assert first != second
    assert shorten("short", 60) == "short"


def test_markdown_leaves_ordinary_names_alone():
    assert markdown("ad-mamba method.context_length=200") == "ad-mamba method.context_length=200"


def test_bare_addresses_do_not_become_links():
    shown = markdown("see www.example.com, http://example.com and me@example.com")
    assert "www." not in shown
    assert "http:" not in shown
    assert "me@" not in shown
    assert rendered_cell(shown).cells[0] == "see www.example.com, http://example.com and me@example.com"


def test_hostile_names_render_as_themselves(hostile_name):
    parser = rendered_cell(markdown(hostile_name))
    assert parser.cells == [shorten(hostile_name, 120), "end"]
    assert parser.tags <= {"table", "thead", "tbody", "tr", "th", "td"}


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text("ab1 <>&\"'`*_{}[]()#+-!|~:@$^=\\./\n", max_size=30))
def test_any_markup_renders_as_itself(text):
    parser = rendered_cell(markdown(text, 1000))
    assert " ".join(parser.cells[0].split()) == " ".join(visible(text).split())
    assert parser.tags <= {"table", "thead", "tbody", "tr", "th", "td"}


#: What TeX typesets for each command that `latex` may write.
TYPESET = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\ldots{}": "…",
    "{[}": "[",
    "$-$": "−",
    **{f"\\textsuperscript{{{digit}}}": mark for digit, mark in zip("12345", "¹²³⁴⁵", strict=True)},
    **{f"\\{each}": each for each in "&%$#_{}"},
}
PIECE = re.compile("|".join(map(re.escape, sorted(TYPESET, key=len, reverse=True))) + r"|[^\\{}$&%#_~^\[]")


def typeset(source: str) -> str:
    """The text that TeX makes of `source`; fails where something else than text is left."""
    pieces = PIECE.findall(source)
    assert "".join(pieces) == source
    return "".join(TYPESET.get(piece, piece) for piece in pieces)


def test_latex_typesets_the_text_itself(hostile_name):
    assert typeset(latex(hostile_name)) == shorten(hostile_name, 120)


@given(st.text(alphabet="\\{}$&%#_~^[]<>|−…¹⁵ab \n", max_size=30))
def test_latex_of_any_text_is_text(text):
    assert typeset(latex(text)) == shorten(text, 120)
