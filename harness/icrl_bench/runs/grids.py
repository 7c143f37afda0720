"""A grid: all rows of a protocol as one plan. Shared stages are made once, a row that fails stops no other.

The rows of a grid are runs like any other, with the addresses that `icrl-bench run` would give them, so a grid that was
interrupted goes on where it stopped, and one that was run in part by hand is completed. An environment that the protocol
demands a certificate of is certified first, and refused with all its rows if it doesn't pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from icrl_bench.executors.contract import Executor, UnitKey
from icrl_bench.planning import CONTROL, Plan, Request, make_plan
from icrl_bench.runs.certificates import require_passed
from icrl_bench.runs.dispatch import make_all
from icrl_bench.runs.execution import run_ids
from icrl_bench.runs.overview import Overview
from icrl_bench.stages.certify import Certify
from icrl_bench.stages.record import Record
from icrl_bench.stages.stage import Context, Stage, in_order
from icrl_registry.configuration import merge
from icrl_registry.contracts import Track
from icrl_registry.errors import BenchError, UsageError
from icrl_registry.protocols.model import Protocol

SHUFFLED = ", rewards shuffled"  # behind the name of a row's control
OFFLINE = "@offline"  # behind a method's name: its row on the offline track


@dataclass
class GridRow:
    """One row: where it stands in the grid, and what became of it."""

    environment: str
    method: str  # as the user writes it, with `@offline`
    seed: int
    plan: Plan
    error: str | None = None

    @property
    def record(self) -> Record:
        """The stage that records it; all that it needs are its inputs."""
        return Record(self.plan, self.seed)

    @property
    def label(self) -> str:
        """`ad-mamba on reacher-goal-v1, seed 0`."""
        return f"{self.method} on {self.environment}, seed {self.seed}"


@dataclass
class Grid:
    """Rows, environment by environment, and the certificates that they stand under."""

    protocol: Protocol
    rows: list[GridRow]
    certificates: dict[str, Certify] = field(default_factory=dict)  # by environment; empty if none is demanded
    refused: dict[str, str] = field(default_factory=dict)  # environment → why none of its rows is made

    def stages(self) -> list[Stage[Any]]:
        """Every stage once, each after its inputs: for each environment its certificate, then its rows."""
        environments = dict.fromkeys(row.environment for row in self.rows)
        targets: list[Stage[Any]] = []
        for environment in environments:
            targets += [self.certificates[environment]] if environment in self.certificates else []
            targets += [row.record for row in self.rows if row.environment == environment]
        return in_order(targets)

    @property
    def failed(self) -> list[GridRow]:
        """The rows that could not be made."""
        return [row for row in self.rows if row.error is not None]


def plan_grid(
    protocol: Protocol,
    environments: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    device: str = "cpu",
    certify: bool = True,
    controls: bool = False,
) -> Grid:
    """Plans every row before any of them runs. What isn't given is the protocol's: its environments, grid and seeds.

    With `controls` each row of a method that acts is followed by its control: the same checkpoint, adapting to rewards of
    another task. What stays of a row's score there was not learned from rewards.

    Raises:
        UsageError, UnknownNameError, PluginError: as `make_plan`; or the protocol has no grid and no methods are given.
    """
    chosen = list(environments or protocol.environments)
    wanted = list(methods or protocol.grid)
    if not wanted:
        raise UsageError(f"{protocol.id} lists no methods to make a grid of", "name them: --methods ad-mamba,ad-dt")
    rows = []
    for environment in chosen:
        for method in wanted:
            name, track = _track_of(method)
            plan = make_plan(Request(name, environment, protocol, overrides or {}, device, track))
            of_row = plan.default_seeds if seeds is None else list(seeds)[: 1 if plan.replays_source else None]
            for seed in of_row:  # of a replayed source every seed would give the same row
                rows.append(GridRow(plan.environment_id, method, seed, plan))
            if controls and not plan.replays_source:
                shuffled = make_plan(
                    Request(name, environment, protocol, merge(overrides or {}, CONTROL), device, track)
                )
                rows += [GridRow(plan.environment_id, method + SHUFFLED, seed, shuffled) for seed in of_row]
    grid = Grid(protocol, rows)
    if certify and protocol.certificate.demands_anything:
        for row in rows:
            grid.certificates.setdefault(row.environment, Certify(row.plan))
    return grid


def run_grid(grid: Grid, context: Context) -> Grid:
    """Makes what is missing. A stage that fails takes with it what needs it; everything else goes on."""
    rows = {row.record.key: row for row in grid.rows}
    failed: dict[tuple[str, ...], str] = {}  # key of a stage → why it isn't there
    stages, said, ids = grid.stages(), "", run_ids([row.record for row in grid.rows])
    for number, stage in enumerate(stages):
        row = rows.get(stage.key)
        if stage.is_shown and said != (said := _of(stage)):
            context.progress.message(f"{said} (stage {number + 1} of {len(stages)})")
        context.progress.run_id = ids.get(stage.key, "")  # a certificate is no run's
        reason = _why_not(stage, failed, grid)
        if reason is None:
            try:
                stage.ensure(context)
                _hold_to_protocol(stage, grid, context)
            except Exception as error:  # whatever one row runs into, the others are to be had
                reason = error.message if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
                what = row.label if row is not None else f"{stage.name} on {stage.plan.environment_id}"
                context.progress.message(f"{what} failed: {reason}")
        if reason is not None:
            failed[stage.key] = reason
            if isinstance(stage, Certify):
                grid.refused[stage.plan.environment_id] = reason
            if row is not None:
                row.error = reason
    return grid


def run_grid_together(grid: Grid, context: Context, executor: Executor, overview: Overview) -> Grid:
    """As `run_grid`, with everything that has its inputs side by side in an executor."""
    failed = make_all(
        grid.stages(),
        executor,
        context,
        overview,
        made=lambda stage: _hold_to_protocol(stage, grid, context),
        also_after=_after_certificates(grid),
    )
    for environment, certificate in grid.certificates.items():
        if certificate.key in failed:
            grid.refused[environment] = failed[certificate.key].text
    for row in grid.rows:
        if row.record.key in failed:
            row.error = failed[row.record.key].text
    return grid


def _after_certificates(grid: Grid) -> dict[UnitKey, list[UnitKey]]:
    """An environment's rows wait for its certificate, in all but what the certificate itself is made from."""
    waits: dict[UnitKey, list[UnitKey]] = {}
    for environment, certificate in grid.certificates.items():
        before = {stage.key for stage in in_order([certificate])}
        rows = in_order([row.record for row in grid.rows if row.environment == environment])
        waits |= {stage.key: [certificate.key] for stage in rows if stage.key not in before}
    return waits


def _of(stage: Stage[Any]) -> str:
    """What a stage belongs to, for the reader of a long log."""
    environment = stage.plan.environment_id
    if stage.seed is None or isinstance(stage, Certify):
        return environment
    track = OFFLINE if stage.plan.request.track == "offline" else ""
    return f"{stage.plan.request.method}{track} on {environment}"


def _why_not(stage: Stage[Any], failed: Mapping[tuple[str, ...], str], grid: Grid) -> str | None:
    """Why a stage can't be made: one of its inputs is not there, or its environment was refused."""
    for needed in stage.inputs:
        if needed.key in failed:
            return failed[needed.key]
    return grid.refused.get(stage.plan.environment_id)


def _hold_to_protocol(stage: Stage[Any], grid: Grid, context: Context) -> None:
    if isinstance(stage, Certify):
        found = stage.read(context.store)
        if context.leaderboard is not None:
            context.leaderboard.record_certificate(found)
        require_passed(found, grid.protocol)


def _track_of(method: str) -> tuple[str, Track]:
    return (method.removesuffix(OFFLINE), "offline") if method.endswith(OFFLINE) else (method, "online")
