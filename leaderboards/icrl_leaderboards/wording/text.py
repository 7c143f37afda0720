"""Names and free text made safe to show: in a terminal, in Markdown and in HTML a name must come out as text.

Names reach a leaderboard from plugins and from other people's files. Control characters could rewrite a terminal, bidirectional
marks could reverse a line, markup could run, and a name of 10,000 characters could bury a table.
"""

from __future__ import annotations

import hashlib
import unicodedata

#: Unicode categories that are shown by their code: controls, invisible formatting (bidirectional marks, zero widths),
#: surrogates, private use, unassigned, line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Combining marks stack without limit on one character; more than this many in a row are shown by their codes.
_MAXIMUM_COMBINING = 3
#: What begins a construct within a line of GitHub's Markdown: code, emphasis, links, cells, mathematics, addresses.
_MARKDOWN_SPECIAL = frozenset("\\`*[]|~$@")
_LATEX = {
    **{each: f"\\{each}" for each in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # behind `\\\\` a bracket would be its argument
    "−": "$-$",
    "…": r"\ldots{}",
    **{mark: f"\\textsuperscript{{{digit}}}" for mark, digit in zip("¹²³⁴⁵", "12345", strict=True)},
}
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def visible(text: str) -> str:
    """`text` with every character that has no glyph of its own replaced by its code, such as `\\x1b` or `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    shown = []
    combining = 0
    for character in text:
        category = unicodedata.category(character)
        combining = combining + 1 if category in ("Mn", "Me") else 0
        hidden = category in _INVISIBLE or combining > _MAXIMUM_COMBINING
        shown.append(_code(character) if hidden else character)
    return "".join(shown)


def shorten(text: str, limit: int) -> str:
    """`visible(text)` in about `limit` characters; what was cut is counted, and a digest keeps equal beginnings apart."""
    shown = visible(text)
    if len(shown) <= limit:
        return shown
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    tail = f"… ({len(text):,} characters, #{digest})" if len(text) > 2 * limit else f"…#{digest}"
    return shown[: max(limit - len(tail), 8)] + tail


def latex(text: str, limit: int = 120) -> str:
    """`text` as a piece of a LaTeX line that typesets as exactly that text."""
    return "".join(_LATEX.get(each, each) for each in shorten(text, limit))


def markdown(text: str, limit: int = 120) -> str:
    """`text` as a piece of a Markdown line that renders as exactly that text, also within a table cell."""
    shown = shorten(text, limit)
    web_address = "www." in shown.lower()
    escaped = []
    for index, character in enumerate(shown):
        before, after = shown[index - 1 : index], shown[index + 1 : index + 2]
        special = (
            character in _MARKDOWN_SPECIAL
            or (character == "_" and not (before.isalnum() and after.isalnum()))  # emphasis needs a word's edge
            or (character == ":" and not after.isspace())  # http://, :smile:
            or (character == "." and web_address)
            or (character in "-+#=" and index == 0)
        )
        escaped.append("\\" + character if special else _ENTITIES.get(character, character))
    return "".join(escaped)


def _code(character: str) -> str:
    number = ord(character)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
