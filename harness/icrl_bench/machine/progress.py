"""What the user sees while a run works: one bar for the whole run and one for the stage, with rate and ETA, on stderr.

In a notebook the bars are an output of the cell; without either, a line every few seconds instead. Events also go to
the plugins' `icrl_progress` hook.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from icrl_bench.machine.notebook import notebook_display
from icrl_bench.machine.verbosity import verbosity

LINE_EVERY = 10.0  # seconds between lines where there is no terminal
UPDATE_EVERY = 0.2  # seconds between updates of a bar
RATE_WINDOW = 120.0  # seconds over which a rate is measured
MEDIUM, WIDE = 100, 130  # columns of a terminal from which bars say the count, and rate and metrics
SAMPLE_EVERY = 1.0  # seconds between the samples of which a rate is made


class Progress:
    """Two-level progress: the run's stages, and units (environment steps, updates) within a stage.

    `stages` are the names of all stages in order. The first word of a name is its kind; the kind's last duration is what
    a later stage of the same kind is expected to take.
    """

    def __init__(
        self, stages: Sequence[str], quiet: bool = False, on_event: Callable[[Mapping[str, Any]], None] | None = None
    ) -> None:
        self.quiet = quiet or verbosity() == "quiet"
        self.on_event = on_event or (lambda event: None)
        self.run_id = ""  # of the run that is under way, for events
        self.about: Mapping[str, Any] = {}  # its method, environment, protocol, track and seed, for events
        self.stages = list(stages)
        self.finished: list[str] = []
        self._durations: dict[str, float] = {}  # seconds by kind of stage
        self._notebook = None if quiet else notebook_display()
        self._interactive = self._notebook is not None or (sys.stderr.isatty() and not self.quiet)
        self.display: Any = None
        self._last_overview = time.monotonic()
        self._whole: Any = None

    def __enter__(self) -> Progress:
        if self._interactive:
            self.display = self._notebook or _make_display()
            self.display.start()
            self._whole = self.display.add_task("whole run", total=len(self.stages), count="", note="", eta="")
            self.show_whole(0.0, None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.display is not None:
            self.display.stop()

    def message(self, text: str) -> None:
        """One line that stays."""
        if self.quiet:
            return
        if self.display is not None:
            self.display.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def skip(self, name: str, why: str) -> None:
        """A stage whose artefacts are there already."""
        self.message(f"{name}: {why}")
        self._finish(name)

    @contextmanager
    def stage(self, name: str, total: int, unit: str, done: int | None = 0) -> Iterator[StageProgress]:
        """A stage of `total` units, of which `done` were there before; None: time counts from the first report on."""
        stage = StageProgress(self, name, total, unit, done)
        self._send("stage_started", name, total=total, unit=unit)
        try:
            yield stage
        except BaseException:
            stage.close("stopped")
            raise
        stage.close("done")
        self._durations[_kind(name)] = stage.elapsed
        self._finish(name)
        self._send("stage_finished", name, seconds=round(stage.elapsed, 3))

    def show_progress(self, stage: StageProgress) -> None:
        """Shows where a stage stands on the upper bar."""
        self.show_whole(min(1.0, stage.done / max(stage.total, 1)), stage.remaining)

    def send_progress(self, stage: StageProgress, metrics: Mapping[str, float]) -> None:
        """Tells the hooks where a stage stands: at every report, since a metric that is left out is lost to a tracker."""
        self._send(
            "stage_progress", stage.name, done=stage.done, total=stage.total, unit=stage.unit, metrics=dict(metrics)
        )

    def show_whole(self, fraction: float, remaining: float | None) -> None:
        """Updates the upper bar: the stages done, and the time that is left as far as it is known."""
        if self.display is None:
            return
        done = len(self.finished)
        self.display.update(
            self._whole,
            completed=done + fraction,
            count=f"stage {min(done + 1, len(self.stages))} of {len(self.stages)}",
            eta=self._whole_eta(remaining),
        )

    def _whole_eta(self, remaining: float | None) -> str:
        """The current stage's rest and the later stages as long as earlier ones of their kind; `>` if a kind is new."""
        if remaining is None:
            return ""
        later = [_kind(name) for name in self.stages[len(self.finished) + 1 :]]
        known = sum(self._durations.get(kind, 0.0) for kind in later)
        sign = "ETA" if all(kind in self._durations for kind in later) else "ETA >"
        return f"{sign} {format_seconds(remaining + known)}"

    def overview(self, text: str, done: int, total: int) -> None:
        """Where many rows stand together, in the place of single stages: on the upper bar, or in a line now and then."""
        if self.display is not None:
            self.display.update(self._whole, completed=done, total=total, count="", eta=text)
        elif not self.quiet and time.monotonic() - self._last_overview >= LINE_EVERY:
            self._last_overview = time.monotonic()
            self.message(text)

    def jump_to(self, count: int) -> None:
        """The first `count` stages are over, whether they were reached or not."""
        self.finished = self.stages[:count]
        self.show_whole(0.0, None)

    def _finish(self, name: str) -> None:
        self.finished.append(name)
        self.show_whole(0.0, None)

    def _send(self, event: str, name: str, **facts: Any) -> None:
        self.on_event(
            {"event": event, "run_id": self.run_id, **self.about, "stage": _kind(name), "name": name, **facts}
        )


class StageProgress:
    """Counts the units of one stage."""

    def __init__(self, parent: Progress, name: str, total: int, unit: str, done: int | None) -> None:
        self.parent, self.name, self.total, self.unit = parent, name, total, unit
        self.done = self.first = done or 0  # `first`: what was there before
        self._started = self._last_line = time.monotonic()
        self._last_update = 0.0
        self._samples: deque[tuple[float, int]] = deque()
        if done is not None:
            self._samples.append((self._started, done))
        display = parent.display
        if display is not None:
            self._row = display.add_task(
                name, total=total, completed=self.done, count=self._count(), note="starting", eta=""
            )

    @property
    def elapsed(self) -> float:
        """Seconds since the stage began in this process."""
        return time.monotonic() - self._started

    @property
    def rate(self) -> float:
        """Units per second over the last minutes; 0 before two reports differ."""
        if not self._samples:
            return 0.0
        since, first = self._samples[0]
        return max(0.0, (self.done - first) / max(time.monotonic() - since, 1e-9))

    @property
    def remaining(self) -> float | None:
        """Seconds to the end at this rate; None while there is no rate."""
        rate = self.rate
        return max(0, self.total - self.done) / rate if rate > 0 else None

    def advance(self, units: int) -> None:
        """`units` more are done."""
        self.set(self.done + units)

    def set(self, done: int, note: str = "", metrics: Mapping[str, float] | None = None) -> None:
        """`done` units in all are done; `note` and `metrics` are shown beside the rate."""
        self.done = done
        self.parent.send_progress(self, metrics or {})
        now = time.monotonic()
        self._sample(now)
        if now - self._last_update < UPDATE_EVERY and done < self.total:
            return
        self._last_update = now
        rate, remaining = self.rate, self.remaining
        speed = f"{rate:,.{0 if rate >= 10 else 2}f} {self.unit}/s" if rate > 0 else "starting"
        text = ", ".join([speed, *([note] if note else []), *(f"{k} {v:.4g}" for k, v in (metrics or {}).items())])
        eta = f"ETA {format_seconds(remaining)}" if remaining is not None else ""
        if self.parent.display is not None:
            self.parent.display.update(
                self._row, completed=done, total=self.total, count=self._count(), note=text, eta=eta
            )
        elif not self.parent.quiet and now - self._last_line >= LINE_EVERY:
            self._last_line = now
            self.parent.message(f"{self.name}: {self._count()}, {', '.join(filter(None, [text, eta]))}")
        self.parent.show_progress(self)

    def close(self, state: str) -> None:
        """Takes the stage's bar away and leaves one line: what was done here, and what was there before."""
        if self.parent.display is not None:
            self.parent.display.remove_task(self._row)
        before = f" ({self.first:,} were there before)" if self.first else ""
        made = f"{max(0, self.done - self.first):,} {self.unit} in {format_seconds(self.elapsed)}"
        self.parent.message(f"{self.name}: {state}, {made}{before}")

    def _sample(self, now: float) -> None:
        if not self._samples or now - self._samples[-1][0] >= SAMPLE_EVERY:
            self._samples.append((now, self.done))
        while len(self._samples) > 1 and now - self._samples[0][0] > RATE_WINDOW:
            self._samples.popleft()

    def _count(self) -> str:
        return f"{self.done:,}/{self.total:,} {self.unit}"


def format_seconds(seconds: float) -> str:
    """`75` → `1 min 15 s`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _kind(name: str) -> str:
    return name.split()[0]


def _make_display() -> Any:
    """Two bars with what the terminal has room for: the share that is done and what is left of the time come first, then the
    count and the time that passed, then rate and metrics. Nothing is cut within a word but the last column."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    console = Console(stderr=True)

    def whole(text: str) -> TextColumn:
        return TextColumn(text, table_column=Column(no_wrap=True))

    columns: list[Any] = [whole("{task.description}"), BarColumn(bar_width=max(8, min(24, console.width - 76)))]
    if console.width < MEDIUM:
        columns += [TaskProgressColumn("{task.percentage:>3.0f} %"), whole("{task.fields[eta]}")]
    else:
        columns += [whole("{task.fields[count]}"), TimeElapsedColumn(Column(no_wrap=True)), whole("{task.fields[eta]}")]
    if console.width >= WIDE:
        columns.append(TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis")))
    return Bars(*columns, console=console)
