"""`icrl-bench grid`: all rows of a protocol, as one resumable command."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli import completion
from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.options import (
    ConfigOption,
    DeviceOption,
    JobsOption,
    JsonFlag,
    LeaderboardPlace,
    ProtocolOption,
    SeedsOption,
    SetOption,
    SourceOption,
    home_folder,
    parse_seeds,
    source_settings,
)
from icrl_bench.cli.runs.durations import total_lines
from icrl_bench.cli.runs.executing import ExecutorOptions
from icrl_bench.machine.cores import usable_cores
from icrl_bench.machine.cpu_settings import set_for_training
from icrl_bench.machine.kernel_cache import remove_unfinished_kernels
from icrl_bench.machine.streams import stdout_for_the_result
from icrl_registry.errors import EXIT_RUN_FAILED, UsageError

if TYPE_CHECKING:
    from icrl_bench.artefacts.store import Store
    from icrl_bench.runs.grids import Grid


EnvsOption = Annotated[
    str | None,
    typer.Option(
        "--envs", help="Such as reacher-goal,ant-dir.  [default: all]", autocompletion=completion.environments
    ),
]
MethodsOption = Annotated[
    str | None,
    typer.Option(
        "--methods",
        help="Such as ad-mamba,macaw,macaw@offline.  [default: the protocol's grid]",
        autocompletion=completion.methods,
    ),
]

CertifyFlag = Annotated[
    bool, typer.Option("--certify/--no-certify", help="Hold environments to the certificates that are demanded.")
]
ControlsFlag = Annotated[
    bool, typer.Option("--controls", help="Also each row's control: the trained agents, shown another task's rewards.")
]
DryRunFlag = Annotated[bool, typer.Option("--dry-run", help="Print the rows and how long they will take, and stop.")]


@takes_groups
def grid(
    place: LeaderboardPlace,
    where: ExecutorOptions,
    protocol: ProtocolOption = "laptop",
    envs: EnvsOption = None,
    methods: MethodsOption = None,
    seeds: SeedsOption = None,
    device: DeviceOption = "auto",
    set_: SetOption = None,
    config: ConfigOption = None,
    source: SourceOption = None,
    certify: CertifyFlag = True,
    controls: ControlsFlag = False,
    jobs: JobsOption = None,
    dry_run: DryRunFlag = False,
    json_: JsonFlag = False,
) -> None:
    """Make all rows of a protocol: environments × methods × seeds. What rows share is made once.

    The same command continues after an interruption. A row that fails stops no other; exit code 1 if any failed.
    """
    set_for_training()
    remove_unfinished_kernels()
    where.check(place.location)
    from icrl_bench.artefacts.store import Store
    from icrl_bench.runs.grids import plan_grid
    from icrl_registry.configuration import merge, parse_assignments, read_config_file
    from icrl_registry.protocols.loading import load_protocol

    chosen = load_protocol(protocol)
    given = read_config_file(config) if config else {}
    overrides = merge(source_settings(source), given, parse_assignments(set_ or []))
    store = Store(home_folder(place.home))
    with stdout_for_the_result():  # what a plugin prints is no part of the result
        planned = plan_grid(
            chosen,
            _names("--envs", envs),
            _names("--methods", methods),
            parse_seeds(seeds) if seeds is not None else None,
            overrides,
            where.device(device),
            certify,
            controls,
        )
    if not json_:
        _say_sources(planned)
    work = GridWork(store, place, jobs, where)
    if not dry_run:
        _run(planned, work, json_)
    total = {"duration": _duration(planned, work)} if dry_run else {}
    if json_:
        typer.echo(json.dumps({**_document(planned, store), **total}))
    else:
        _print_rows(planned, store)
        _print_duration(total)
    if planned.failed:
        raise typer.Exit(EXIT_RUN_FAILED)


def _say_sources(planned: Grid) -> None:
    """What of the protocol's settings holds for a source that is not the protocol's."""
    for note in dict.fromkeys(row.plan.source_note for row in planned.rows if row.plan.source_note):
        typer.echo(note, err=True)


def _names(option: str, text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"cannot read {option} {text!r}", f"write distinct names with commas, such as {option} A,B")
    return names


@dataclass(frozen=True)
class GridWork:
    """Where a grid's artefacts and rows go, and who makes them."""

    store: Store
    place: LeaderboardPlace
    jobs: int | None
    where: ExecutorOptions


def _run(planned: Grid, work: GridWork, quiet: bool) -> None:
    from icrl_bench.machine.progress import Progress
    from icrl_bench.runs.execution import names_of
    from icrl_bench.runs.grids import run_grid, run_grid_together
    from icrl_bench.stages.stage import Context

    stages = planned.stages()
    with (
        stdout_for_the_result(),
        work.where.hooks(work.store) as hooks,
        work.place.open() as leaderboard,
        Progress(names_of(stages), quiet=quiet, on_event=hooks.progress) as progress,
    ):
        leaderboard.reach()
        context = Context(work.store, progress, work.jobs or usable_cores(), leaderboard, hooks)
        if work.where.executor is None:
            run_grid(planned, context)
            return
        with work.where.open(context, work.jobs, stages) as (executor, overview):
            run_grid_together(planned, context, executor, overview)


def _duration(planned: Grid, work: GridWork) -> dict[str, Any]:
    """How long what is missing will take, what rows share counted once."""
    from icrl_bench.runs.durations.estimate import Speeds, total_of

    with stdout_for_the_result():
        return total_of(planned.stages(), Speeds(work.store, work.jobs or usable_cores())).as_json()


def _print_duration(total: dict[str, Any]) -> None:
    for line in total_lines(total["duration"]) if total else []:
        typer.echo(line)


def _state(row: Any, store: Store) -> str:
    if row.error is not None:
        return "failed"
    return "done" if row.record.adapt.done(store) else "to do"


def _document(planned: Grid, store: Store) -> dict[str, Any]:
    return {
        "protocol": planned.protocol.id,
        "refused": planned.refused,
        "rows": [
            {
                "environment": row.environment,
                "method": row.method,
                "seed": row.seed,
                "run_id": row.record.run_id,
                "state": _state(row, store),
                "error": row.error,
            }
            for row in planned.rows
        ],
    }


def _print_rows(planned: Grid, store: Store) -> None:
    """One line a row of the table, environments as columns: how many seeds are done, and what failed below it."""
    from icrl_leaderboards.terminal.listing import print_listing

    environments = list(dict.fromkeys(row.environment for row in planned.rows))
    methods = list(dict.fromkeys(row.method for row in planned.rows))
    lines = []
    for method in methods:
        cells = []
        for environment in environments:
            rows = [row for row in planned.rows if (row.environment, row.method) == (environment, method)]
            states = Counter(_state(row, store) for row in rows)
            failed = f", {states['failed']} failed" if states["failed"] else ""
            cells.append(f"{states['done']} of {len(rows)}{failed}")
        lines.append([method, *cells])
    print_listing(["method", *environments], lines, title=f"grid of {planned.protocol.id}: rows done, by seed")
    for environment, reason in planned.refused.items():
        typer.echo(f"{environment} refused: {reason}", err=True)
    for row in planned.failed:
        if row.environment not in planned.refused:
            typer.echo(f"{row.label} failed: {row.error}", err=True)
