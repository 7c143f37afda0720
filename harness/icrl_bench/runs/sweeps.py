"""A sweep: one method on one environment at every combination of some settings' values, as one study in the leaderboard.

Each cell is a run like any other, with the same plan, stages and addresses as `icrl-bench run --set KEY=VALUE` would give it:
a sweep that was interrupted goes on where it stopped, and cells share the data that they have in common.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from icrl_bench.artefacts.store import Store, address_of
from icrl_bench.executors.contract import Executor
from icrl_bench.machine.progress import format_seconds
from icrl_bench.planning import Plan, Request, make_plan
from icrl_bench.runs.dispatch import make_all
from icrl_bench.runs.execution import execute, names_of, stages_of
from icrl_bench.runs.overview import Overview
from icrl_bench.stages.record import Record
from icrl_bench.stages.stage import Context, Stage, in_order
from icrl_leaderboards.database.studies import Study, StudyRun
from icrl_leaderboards.runs.record import format_value
from icrl_registry.configuration import merge, parse_assignments
from icrl_registry.errors import BenchError, UsageError


@dataclass
class PlannedCell:
    """One combination of values, its plan, and why it failed if it did."""

    settings: dict[str, Any]  # dotted key → value
    plan: Plan
    error: str | None = None

    @property
    def label(self) -> str:
        """The settings in one line, as `--set` takes them."""
        return ", ".join(f"{key}={format_value(value)}" for key, value in self.settings.items())


@dataclass
class PlannedSweep:
    """A study and the plans of its cells, in the order of the grid: the last axis varies fastest."""

    name: str
    axes: dict[str, list[Any]]
    seeds: list[int]
    cells: list[PlannedCell]
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def study(self) -> Study:
        """What the leaderboard keeps of it, with the errors so far."""
        plan = self.cells[0].plan
        runs = [
            StudyRun(Record(cell.plan, seed).run_id, seed, cell.settings, cell.error)
            for cell in self.cells
            for seed in self.seeds
        ]
        request = plan.request
        environment, protocol = plan.environment_id, request.protocol.id
        return Study(self.name, request.method, environment, protocol, request.track, self.axes, runs, self.created_at)


def parse_axes(assignments: Sequence[str]) -> dict[str, list[Any]]:
    """`["method.context_length=200,full"]` → `{"method.context_length": [200, "full"]}`; commas within brackets stay.

    Raises:
        UsageError: no value, a value or a key that stands there twice, or what `--set` would refuse.
    """
    axes: dict[str, list[Any]] = {}
    for assignment in assignments:
        key, _, text = assignment.partition("=")
        key = key.strip()
        values = [_parse(key, part) for part in _split(text)]
        hint = "write --vary SECTION.KEY=VALUE,VALUE, for example --vary method.context_length=200,1000,full"
        if not values:
            raise UsageError(f"--vary {assignment!r} has no values", hint)
        if key in axes:
            raise UsageError(f"--vary {key} is there twice", "give all values of a setting in one --vary")
        if len({json.dumps(value, sort_keys=True) for value in values}) < len(values):
            raise UsageError(f"--vary {assignment!r} has a value twice", "give each value once")
        axes[key] = values
    return axes


def plan_sweep(
    request: Request, axes: Mapping[str, list[Any]], seeds: Sequence[int] | None, name: str | None
) -> PlannedSweep:
    """Plans every cell before any of them runs, so that a wrong setting is said at once. Seeds default to the protocol's.

    Raises:
        UsageError, UnknownNameError, PluginError: as `make_plan` raises them.
    """
    cells = []
    for values in itertools.product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        overrides = merge(request.overrides, *[_nested(key, value) for key, value in settings.items()])
        cells.append(PlannedCell(settings, make_plan(replace(request, overrides=overrides))))
    seeds = cells[0].plan.default_seeds if seeds is None else seeds
    return PlannedSweep(name or _default_name(cells[0].plan, request, axes), dict(axes), list(seeds), cells)


def stage_names(sweep: PlannedSweep) -> list[str]:
    """The stages of all cells, as the progress bar counts them."""
    return [name for cell in sweep.cells for name in names_of(stages_of(cell.plan, sweep.seeds))]


def run_sweep(sweep: PlannedSweep, context: Context) -> Study:
    """Runs what is missing, cell by cell; a cell that fails is noted, and the others go on."""
    leaderboard, progress = context.leaderboard, context.progress
    assert leaderboard is not None
    leaderboard.record_study(sweep.study())
    ended = 0
    typical: list[float] = []  # seconds of cells by which the others can be judged
    for index, cell in enumerate(sweep.cells):
        rest = _rest(typical, len(sweep.cells) - index)
        progress.message(f"cell {index + 1} of {len(sweep.cells)}: {cell.label}{rest}")
        is_typical, started = _is_typical(sweep, cell, context.store), time.monotonic()
        try:
            execute(cell.plan, sweep.seeds, context)
        except Exception as error:  # whatever one cell runs into, the others are to be had
            cell.error = error.message if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
            progress.message(f"cell {index + 1} failed: {cell.error}")
            leaderboard.record_study(sweep.study())
        ended += len(names_of(stages_of(cell.plan, sweep.seeds)))
        progress.jump_to(ended)
        if is_typical:
            typical.append(time.monotonic() - started)
    return sweep.study()


def run_sweep_together(sweep: PlannedSweep, context: Context, executor: Executor, overview: Overview) -> Study:
    """As `run_sweep`, with the cells side by side in an executor."""
    assert context.leaderboard is not None
    context.leaderboard.record_study(sweep.study())
    failed = make_all(stages_of_sweep(sweep), executor, context, overview)
    for cell in sweep.cells:
        reasons = [failed[key].text for seed in sweep.seeds if (key := Record(cell.plan, seed).key) in failed]
        cell.error = reasons[0] if reasons else None
    if any(cell.error for cell in sweep.cells):
        context.leaderboard.record_study(sweep.study())
    return sweep.study()


def stages_of_sweep(sweep: PlannedSweep) -> list[Stage[Any]]:
    """All stages of all cells, each once."""
    return in_order([Record(cell.plan, seed) for cell in sweep.cells for seed in sweep.seeds])


def _is_typical(sweep: PlannedSweep, cell: PlannedCell, store: Store) -> bool:
    """Whether a cell has stages to make, and none that another needs as well, as the first one's collection."""
    others = {stage.key for other in sweep.cells if other is not cell for stage in stages_of(other.plan, sweep.seeds)}
    missing = [stage for stage in stages_of(cell.plan, sweep.seeds) if stage.is_shown and not stage.done(store)]
    return bool(missing) and not any(stage.key in others for stage in missing)


def _rest(typical: Sequence[float], left: int) -> str:
    """The time that `left` cells take if they are like those that are done; nothing while none is."""
    if not typical:
        return ""
    return f" (ETA of the sweep {format_seconds(sum(typical) / len(typical) * left)})"


def _default_name(plan: Plan, request: Request, axes: Mapping[str, Any]) -> str:
    """Of what is varied and on what; other fixed settings make another study."""
    parts = [request.method, plan.environment_id, request.protocol.id, *axes]
    fixed = {"overrides": request.overrides, "track": request.track}
    if any(request.overrides.values()) or request.track != "online":
        parts.append(address_of(fixed)[:6])
    return " ".join(parts)


def _nested(key: str, value: Any) -> dict[str, dict[str, Any]]:
    section, _, name = key.partition(".")
    return {section: {name: value}}


def _parse(key: str, text: str) -> Any:
    ((section, table),) = parse_assignments([f"{key}={text}"]).items()
    return table[key.removeprefix(f"{section}.")]


def _split(text: str) -> list[str]:
    """At the commas that are not within brackets or quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += (character in "[{") - (character in "]}")
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]
