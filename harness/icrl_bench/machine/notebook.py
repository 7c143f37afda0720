"""Progress in a notebook: one output of the cell that is replaced as the run advances, in the place of a terminal's bars.

It has what `Progress` uses of `rich.progress`: rows that are added, updated and removed, and a console that prints lines.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any

UPDATE_EVERY = 0.3  # seconds between two replacements of the output
WIDTH = 24  # characters of a bar
COLUMNS = ("count", "eta", "note")  # what a row says behind its bar


def notebook_display() -> NotebookDisplay | None:
    """A display for the notebook in which this runs; None outside of one."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):  # a terminal's IPython has none, and is a terminal
        return None
    from IPython.display import display

    return NotebookDisplay(display)


@dataclass
class ProgressRow:
    """One bar."""

    name: str
    total: float
    completed: float = 0.0
    words: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        done = min(1.0, self.completed / self.total) if self.total else 1.0
        bar = ("█" * round(WIDTH * done)).ljust(WIDTH, "░")
        return "  ".join(filter(None, [f"{self.name:<16}", bar, *(self.words.get(name, "") for name in COLUMNS)]))


class NotebookDisplay:
    """Rows of text in one output of a cell."""

    def __init__(self, display: Any) -> None:
        self._display, self._handle = display, None
        self._rows: dict[int, ProgressRow] = {}
        self._next = 0
        self._shown = 0.0
        self.console = self  # which prints the lines that stay

    def start(self) -> None:
        """Makes the output."""
        self._handle = self._display({"text/plain": ""}, raw=True, display_id=True)

    def stop(self) -> None:
        """Shows the last state."""
        self._show(now=True)

    def add_task(self, name: str, total: float, completed: float = 0, **words: str) -> int:
        """A new row; returns its number."""
        self._next += 1
        self._rows[self._next] = ProgressRow(name, total, completed, dict(words))
        self._show()
        return self._next

    def update(self, row: int, completed: float | None = None, total: float | None = None, **words: str) -> None:
        """Changes a row."""
        changed = self._rows[row]
        changed.completed = changed.completed if completed is None else completed
        changed.total = changed.total if total is None else total
        changed.words |= words
        self._show()

    def remove_task(self, row: int) -> None:
        """Takes a row away."""
        del self._rows[row]
        self._show(now=True)

    def print(self, text: str, **style: Any) -> None:
        """A line that stays, below the rows: on standard error, which a notebook shows in the cell."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def _show(self, now: bool = False) -> None:
        if self._handle is None or (not now and time.monotonic() - self._shown < UPDATE_EVERY):
            return
        self._shown = time.monotonic()
        self._handle.update({"text/plain": "\n".join(map(str, self._rows.values()))}, raw=True)
