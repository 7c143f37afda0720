"""One run in a terminal: what it is, its stages with their times, its training as lines of blocks, what its agents report."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.runs.training import Series, TrainingLog, spark
from icrl_leaderboards.terminal.listing import wrapped
from icrl_leaderboards.wording.formatting import count, decimals_for, duration, number
from icrl_leaderboards.wording.text import visible

if TYPE_CHECKING:
    from rich.console import Console

STAGES = ("collect", "train", "adapt")
WIDEST_LINE = 48  # blocks of a curve
NARROWEST_LINE = 8
NO_LOG = "the checkpoint is not in this home folder, so how the training went is not known here"


def print_run(
    record: RunRecord,
    log: TrainingLog | None,
    different: Sequence[tuple[str, Any, Any]] | str,
    console: Console | None = None,
) -> None:
    """Prints the run. `different`: (key, the run's value, the protocol's) of each setting, or why they are not known."""
    from rich.console import Console

    console = console or Console(highlight=False)
    blocks = min(WIDEST_LINE, max(NARROWEST_LINE, console.width - 56))  # beside a long name and two numbers
    title = f"{record.method} on {record.environment} · {record.protocol} · {record.track} · seed {record.seed}"
    _section(console, visible(title), [("run", record.run_id), ("recorded", record.created_at), *_sizes(record)])
    _section(console, "Stages", _stages(record))
    _section(console, "Training", [("", NO_LOG)] if log is None else _training(record, log, blocks))
    if isinstance(different, str):
        _section(console, "Settings that differ from the protocol", [("", different)])
    else:
        lines = [(key, f"{_setting(value)}  (protocol: {_setting(protocols)})") for key, value, protocols in different]
        _section(console, "Settings that differ from the protocol", lines or [("", "none")])
    _section(console, "Adaptation", _adaptation(record, blocks))
    if record.diagnostics:
        _section(
            console, "Diagnostics", [(name, f"{value:,.6g}") for name, value in sorted(record.diagnostics.items())]
        )


def _section(console: Console, title: str, lines: Sequence[tuple[str, str]]) -> None:
    """A heading and lines of name and value; what is too long for one line goes on below its own beginning."""
    from rich.text import Text

    _print(console, Text(title, style="bold"))
    named = [2 + len(visible(name)) for name, _ in lines if name]
    indent = min(max(named, default=0), max(12, console.width // 2)) + 2
    for name, value in lines:
        head = f"  {visible(name)}"
        if name and len(head) > indent - 2:
            _print(console, Text(head))
            head = ""
        parts = wrapped(visible(value), console.width - indent)
        for line in (f"{head:<{indent}}{parts[0]}", *(" " * indent + part for part in parts[1:])):
            _print(console, Text(line.rstrip()))


def _print(console: Console, text: object) -> None:
    console.print(text, soft_wrap=True)


def _sizes(record: RunRecord) -> list[tuple[str, str]]:
    tasks, episodes = len(record.returns), len(record.returns[0])
    return [
        ("parameters", f"{record.parameters:,}"),
        ("unseen tasks", f"{tasks}, {episodes} episodes each"),
        ("checkpoint", record.checkpoint),
        ("dataset", record.dataset),
    ]


def _stages(record: RunRecord) -> list[tuple[str, str]]:
    known = [name for name in STAGES if name in record.seconds]
    lines = []
    for name in chain(known, sorted(set(record.seconds) - set(STAGES))):
        steps = getattr(record, f"{name}_env_steps", None)
        words = f", {count(steps)} environment steps" if steps else ""
        lines.append((name, f"{duration(record.seconds[name])}{words}"))
    return lines


def _training(record: RunRecord, log: TrainingLog, blocks: int) -> list[tuple[str, str]]:
    rates = [f"{log.updates:,} in {duration(log.seconds)}"]
    if log.updates_per_second is not None:
        rates.append(f"{log.updates_per_second:.3g} a second")
    tokens = log.steps_per_second(record.config)
    if tokens is not None:
        rates.append(f"{count(tokens)} environment steps of contexts a second")
    lines = [(series.name.replace("_", " "), trend(series, blocks)) for series in log.series()]
    return [("updates", ", ".join(rates)), *lines]


def trend(series: Series, blocks: int) -> str:
    """`0.473 → 0.113  ▇▅▂▁`: first and last value, and the way between them in at most `blocks`."""
    values = series.values
    decimals = decimals_for(values)
    if max(abs(value) for value in values) < 0.01:  # a learning rate
        return f"{values[0]:.2g} → {values[-1]:.2g}  {spark(series.binned(blocks))}"
    return f"{number(values[0], decimals)} → {number(values[-1], decimals)}  {spark(series.binned(blocks))}"


def _adaptation(record: RunRecord, blocks: int) -> list[tuple[str, str]]:
    mean = np.asarray(record.returns).mean(axis=0)  # (E,)
    series = Series("return", tuple(range(1, len(mean) + 1)), tuple(mean.tolist()))
    decimals = decimals_for(mean)
    known = [value for value in record.oracle if value is not None]
    lines = [("mean return by episode", trend(series, blocks))]
    if known:
        lines.append(("oracle", number(float(np.mean(known)), decimals)))
    return [*lines, ("random", number(float(np.mean(record.random)), decimals))]


def print_rise(records: Sequence[RunRecord], console: Console | None = None) -> None:
    """What the runs of one method learned in context, as one line: mean return over their tasks and seeds, by episode."""
    from rich.console import Console

    console = console or Console(highlight=False)
    episodes = min(np.asarray(record.returns).shape[1] for record in records)
    mean = np.mean([np.asarray(record.returns)[:, :episodes].mean(axis=0) for record in records], axis=0)  # (E,)
    series = Series("return", tuple(range(1, episodes + 1)), tuple(mean.tolist()))
    blocks = min(WIDEST_LINE, max(NARROWEST_LINE, console.width - 24))
    heading = f"Return by episode, 1 to {episodes}, mean of {len(records[0].returns)} unseen tasks:"
    for line in ("", *wrapped(heading, console.width), f"  {trend(series, blocks)}"):
        _print(console, line)


def _setting(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
