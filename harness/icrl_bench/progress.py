"""What the user sees while a run works: one bar for the whole run and one for the stage, with rate and ETA, on stderr.

Without a terminal, a line every few seconds instead. Events also go to the plugins' `icrl_progress` hook.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

LINE_EVERY = 10.0  # seconds between lines where there is no terminal
UPDATE_EVERY = 0.2  # seconds between updates of a bar and between events


class Progress:
    """Two-level progress: the run's stages, and units (environment steps, updates) within a stage."""

    def __init__(
        self, total_stages: int, quiet: bool = False, on_event: Callable[[Mapping[str, Any]], None] | None = None
    ) -> None:
        self.quiet = quiet
        self.on_event = on_event or (lambda event: None)
        self.run_id = ""  # of the run that is under way, for events
        self.total_stages = total_stages
        self.stages_done = 0
        self._display: Any = None
        self._interactive = sys.stderr.isatty() and not quiet

    def __enter__(self) -> Progress:
        if self._interactive:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )
            from rich.progress import (
                Progress as Bars,
            )

            self._display = Bars(
                TextColumn("{task.description}"),
                BarColumn(bar_width=28),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._display.start()
            self._whole = self._display.add_task("whole run", total=self.total_stages, note="stages")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display is not None:
            self._display.stop()

    def message(self, text: str) -> None:
        """One line that stays."""
        if self.quiet:
            return
        if self._display is not None:
            self._display.console.print(text, markup=False, highlight=False)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    @contextmanager
    def stage(self, name: str, total: int, unit: str, done: int = 0) -> Iterator[StageProgress]:
        """A stage of `total` units, of which `done` were there before."""
        stage = StageProgress(self, name, total, unit, done)
        self.on_event(
            {"event": "stage_started", "run_id": self.run_id, "stage": name.split()[0], "total": total, "unit": unit}
        )
        try:
            yield stage
        finally:
            stage.close()
        self.stages_done += 1
        if self._display is not None:
            self._display.update(self._whole, completed=self.stages_done)
        self.on_event(
            {
                "event": "stage_finished",
                "run_id": self.run_id,
                "stage": name.split()[0],
                "seconds": round(stage.elapsed, 3),
            }
        )


class StageProgress:
    """Counts the units of one stage."""

    def __init__(self, parent: Progress, name: str, total: int, unit: str, done: int) -> None:
        self.parent, self.name, self.total, self.unit = parent, name, total, unit
        self.done = self._first = done
        self._started = self._last_line = time.monotonic()
        self._last_update = 0.0
        display = parent._display
        self._row = display.add_task(name, total=total, completed=done, note=unit) if display is not None else None

    @property
    def elapsed(self) -> float:
        """Seconds since the stage began in this process."""
        return time.monotonic() - self._started

    def advance(self, units: int) -> None:
        """`units` more are done."""
        self.set(self.done + units)

    def set(self, done: int, note: str = "", metrics: Mapping[str, float] | None = None) -> None:
        """`done` units in all are done; `note` and `metrics` are shown beside the rate."""
        self.done = done
        now = time.monotonic()
        if now - self._last_update < UPDATE_EVERY and done < self.total:
            return
        self._last_update = now
        rate = (self.done - self._first) / max(self.elapsed, 1e-9)
        text = f"{rate:,.0f} {self.unit}/s" if rate >= 10 else f"{rate:.2f} {self.unit}/s"
        extras = [note] if note else []
        extras += [f"{name} {value:.4g}" for name, value in (metrics or {}).items()]
        text = ", ".join([text, *extras])
        if self._row is not None:
            self.parent._display.update(self._row, completed=done, total=self.total, note=text)
        elif not self.parent.quiet and now - self._last_line >= LINE_EVERY:
            self._last_line = now
            remaining = (self.total - self.done) / rate if rate > 0 else float("inf")
            self.parent.message(
                f"{self.name}: {self.done:,}/{self.total:,} {self.unit}, {text}, ETA {format_seconds(remaining)}"
            )
        self.parent.on_event(
            {
                "event": "stage_progress",
                "run_id": self.parent.run_id,
                "stage": self.name.split()[0],
                "done": done,
                "total": self.total,
                "unit": self.unit,
                "metrics": dict(metrics or {}),
            }
        )

    def close(self) -> None:
        """Takes the stage's bar away and leaves one line."""
        if self._row is not None:
            self.parent._display.remove_task(self._row)
        self.parent.message(f"{self.name}: {self.done:,} {self.unit} in {format_seconds(self.elapsed)}")


def format_seconds(seconds: float) -> str:
    """`75` → `1 min 15 s`."""
    if seconds == float("inf"):
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
