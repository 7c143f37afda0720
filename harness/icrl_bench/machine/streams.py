"""Standard streams that take any text: what their encoding lacks is written in ASCII, never an error at the end of a run.

A run prints `…`, `–`, `±` and names of files that no encoding may have; the terminal may be Latin-1 or ASCII.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator

ERRORS = "icrl_bench.ascii"
ASCII = {
    "…": "...", "–": "-", "—": "-", "−": "-", "→": "->", "←": "<-", "×": "x", "±": "+-", "≥": ">=", "≤": "<=", "·": "*",
    "“": '"', "”": '"', "‘": "'", "’": "'", "µ": "u", "━": "-", "─": "-", "│": "|", "╸": "-", "╺": "-",
    "▁": "_", "▂": ".", "▃": ":", "▄": "-", "▅": "=", "▆": "+", "▇": "*", "█": "#",
}  # fmt: skip


def accept_any_text() -> None:
    """For this process's standard output and error. Streams that a test or a notebook put there are left as they are."""
    codecs.register_error(ERRORS, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


@contextlib.contextmanager
def stdout_for_the_result() -> Iterator[None]:
    """Within it whatever is printed goes to standard error, also what a plugin's C code writes to file descriptor 1: standard
    output holds the result and nothing else."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # no standard output at all
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(ASCII.get(character, _escaped(character)) for character in text), error.end


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")
