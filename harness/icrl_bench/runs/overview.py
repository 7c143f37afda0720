"""A whole grid in one place: rows done, running and failed, and the time that is left; for the terminal and for scripts.

Scripts get JSON lines, one event each, in a file or on standard error (`--events`):

    {"event": "began", "time": ..., "rows": {"total": 24, "done": 0, "running": 0, "failed": 0}}
    {"event": "unit_ended", "unit": "train ad-gru on reacher-goal-v1, seed 0", "node": ..., "seconds": ..., "failure": null}
    {"event": "row_done", "row": "ad-gru on reacher-goal-v1, seed 0", ...}      and row_failed, with "failure"
    {"event": "progress", "rows": {...}, "units": {"ended": 40, "running": 2}, "eta_seconds": 315.2}
    {"event": "ended", "rows": {...}}
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from icrl_bench.executors.contract import Failure, UnitKey, UnitOutcome
from icrl_bench.machine.progress import Progress, format_seconds
from icrl_bench.stages.stage import Stage, Unit

SHOW_EVERY = 1.0  # seconds between two looks at what is running
STANDARD_ERROR = Path("-")


class Overview:
    """Counts rows and units, and tells of them. Rows are the stages that need the leaderboard."""

    def __init__(self, stages: Sequence[Stage[Any]], progress: Progress, events: Path | None = None) -> None:
        """`progress` is where messages go; `events` is the file for JSON lines, `-` for standard error."""
        self.progress, self._events = progress, events
        self._rows = [stage for stage in stages if stage.needs_leaderboard]
        self._rows_of: dict[UnitKey, list[UnitKey]] = defaultdict(list)  # a row's own stages (of a seed) → the row
        for row in self._rows:
            for needed in row.inputs:
                if needed.seed is not None:
                    self._rows_of[needed.key].append(row.key)
        self._left = Counter(stage.kind for stage in stages if stage.is_shown)  # stages to be made, by kind
        self._work: dict[str, list[float]] = {}  # kind → seconds of work, and stages, that ended here
        self._seconds = 0.0  # of work, of all units that have ended
        self._ended_units = 0
        self.done, self.failed = 0, 0
        self._started = self._shown = self._last_end = time.monotonic()
        self._line_shown = 0.0
        self._closing = ExitStack()
        self._out: TextIO | None = None

    def __enter__(self) -> Overview:
        if self._events == STANDARD_ERROR:
            self._out = sys.stderr
        elif self._events is not None:
            self._out = self._closing.enter_context(self._events.open("a", encoding="utf-8", buffering=1))
        self._send("began", rows=self._counts(0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._send("ended" if kind is None else "stopped", rows=self._counts(0))
        self._closing.close()

    def submitted(self, unit: Unit) -> None:
        """A unit is in the executor's hands."""
        self._send("unit_submitted", unit=unit.name)

    def ended(self, outcome: UnitOutcome) -> None:
        """A unit has ended, well or not."""
        self._ended_units += 1
        self._last_end = time.monotonic()
        self._seconds += outcome.seconds
        kind = outcome.unit.name.split()[0]
        self._work.setdefault(kind, [0.0, 0.0])[0] += outcome.seconds
        failure = outcome.failure
        seconds = round(outcome.seconds, 3)
        self._send("unit_ended", unit=outcome.unit.name, node=outcome.node, seconds=seconds, failure=_words(failure))
        if failure is not None:
            self.progress.message(f"{outcome.unit.name} failed: {failure.text}")
            if failure.detail:
                self.progress.message(failure.detail)

    def finished(self, stage: Stage[Any]) -> None:
        """A stage is there."""
        self._count_down(stage)
        if stage.kind in self._work:
            self._work[stage.kind][1] += 1
        if stage.needs_leaderboard:
            self.done += 1
            self._send("row_done", row=row_name(stage))

    def lost(self, stage: Stage[Any], failure: Failure) -> None:
        """A stage cannot be made."""
        self._count_down(stage)
        if stage.needs_leaderboard:
            self.failed += 1
            self._send("row_failed", row=row_name(stage), failure=_words(failure))

    def show(self, under_way: Callable[[], Iterable[UnitKey]]) -> None:
        """To be called often; looks at what is under way about once a second."""
        now = time.monotonic()
        if now - self._shown < SHOW_EVERY:
            return
        self._shown = now
        stages = list(under_way())
        running = len({row for key in stages for row in self._rows_of.get(key, ())})
        eta, is_whole = self._eta(now)
        counts = self._counts(running)
        units = {"ended": self._ended_units, "running": len(stages)}
        self._send("progress", rows=counts, units=units, eta_seconds=None if eta is None else round(eta, 1))
        left = f", ETA {'' if is_whole else '> '}{format_seconds(eta)}" if eta is not None else ""
        text = (
            f"{counts['done']} of {counts['total']} rows done, {counts['running']} running, {counts['failed']} failed; "
            f"{units['running']} units at work, {units['ended']} ended{left}"
        )
        self.progress.overview(text, self.done + self.failed, len(self._rows))

    def _eta(self, now: float) -> tuple[float | None, bool]:
        """Seconds to the end, if the rest goes as what has ended; and whether something of every kind has ended.

        None where that is not known: before the first end, and when what is under way takes longer than all that did end.
        What is under way counts for nothing until it ends, so the rate is that of the last end, and time since then is work.
        """
        if self._seconds <= 0:
            return None, False
        rate = self._seconds / max(self._last_end - self._started, 1e-9)  # seconds of work a second
        known = {kind: work / max(stages, 1.0) for kind, (work, stages) in self._work.items()}
        rest = sum(known.get(kind, 0.0) * count for kind, count in self._left.items())
        left = rest / rate - (now - self._last_end) if rest else 0.0
        is_whole = all(kind in known for kind, count in self._left.items() if count)
        return (left if left > 0 or (is_whole and not rest) else None), is_whole

    def _count_down(self, stage: Stage[Any]) -> None:
        if stage.is_shown:
            self._left[stage.kind] -= 1

    def _counts(self, running: int) -> dict[str, int]:
        return {"total": len(self._rows), "done": self.done, "running": running, "failed": self.failed}

    def _send(self, event: str, **facts: Any) -> None:
        if self._out is not None:
            self._out.write(json.dumps({"event": event, "time": round(time.time(), 3), **facts}) + "\n")
            self._out.flush()


def row_name(stage: Stage[Any]) -> str:
    """`ad-mamba on reacher-goal-v1, seed 0`."""
    return stage.title.removeprefix(f"{stage.kind} ")


def _words(failure: Failure | None) -> dict[str, str] | None:
    return None if failure is None else vars(failure).copy()
