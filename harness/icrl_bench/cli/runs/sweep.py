"""`icrl-bench sweep`: a method at every combination of some settings, as one study."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.options import JobsOption, JsonFlag, LeaderboardPlace, RunOptions, home_folder
from icrl_bench.cli.runs.durations import total_lines
from icrl_bench.cli.runs.executing import ExecutorOptions
from icrl_bench.machine.cores import usable_cores
from icrl_bench.machine.cpu_settings import set_for_training
from icrl_bench.machine.kernel_cache import remove_unfinished_kernels
from icrl_bench.machine.streams import stdout_for_the_result
from icrl_registry.errors import EXIT_RUN_FAILED

if TYPE_CHECKING:
    from icrl_bench.artefacts.store import Store
    from icrl_bench.runs.sweeps import PlannedSweep
    from icrl_leaderboards.database.leaderboard import Leaderboard
    from icrl_leaderboards.database.studies import Study, StudyRun


@takes_groups
def sweep(
    options: RunOptions,
    vary: Annotated[
        list[str],
        typer.Option("--vary", metavar="KEY=V1,V2,…", help="A setting and its values; several make a grid."),
    ],
    place: LeaderboardPlace,
    where: ExecutorOptions,
    name: Annotated[
        str | None, typer.Option("--name", help="The study's name.  [default: of method, environment and settings]")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Picture to write, SVG or PNG.  [default: in HOME/studies]", dir_okay=False),
    ] = None,
    jobs: JobsOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the cells and how long they will take, and stop.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Run a method at every combination of settings, and record the grid as one study.

    The same command continues after an interruption. A cell that fails stops no other; exit code 1 if any failed.
    """
    set_for_training()
    remove_unfinished_kernels()
    where.check(place.location)
    from icrl_bench.artefacts.store import Store
    from icrl_bench.runs.durations.estimate import Speeds, total_of
    from icrl_bench.runs.sweeps import parse_axes, plan_sweep, stages_of_sweep

    axes, store = parse_axes(vary), Store(home_folder(place.home))
    with stdout_for_the_result():  # what a plugin prints is no part of the result
        planned = plan_sweep(options.request(where.device), axes, options.seed_list, name)
    if not json_ and (note := planned.cells[0].plan.source_note):
        typer.echo(note, err=True)
    if dry_run:
        with stdout_for_the_result():
            total = total_of(stages_of_sweep(planned), Speeds(store, jobs or usable_cores())).as_json()
        _print_cells(planned.study().runs, planned.name, total, json_)
        return
    with place.open() as board:
        board.reach()
        study = _run(planned, SweepWork(store, board, jobs, where), json_)
        scores = board.scores(run_ids=study.run_ids)
    from icrl_bench.cli.leaderboard.studies import show_study

    failed = show_study(study, scores, plot or _default_plot(store.root, planned.name), json_)
    if failed:
        raise typer.Exit(EXIT_RUN_FAILED)


@dataclass(frozen=True)
class SweepWork:
    """Where a sweep's artefacts and rows go, and who makes them."""

    store: Store
    board: Leaderboard
    jobs: int | None
    where: ExecutorOptions


def _run(planned: PlannedSweep, work: SweepWork, quiet: bool) -> Study:
    from icrl_bench.machine.progress import Progress
    from icrl_bench.runs.sweeps import run_sweep, run_sweep_together, stage_names, stages_of_sweep
    from icrl_bench.stages.stage import Context

    with (
        stdout_for_the_result(),
        work.where.hooks(work.store) as hooks,
        Progress(stage_names(planned), quiet=quiet, on_event=hooks.progress) as progress,
    ):
        context = Context(work.store, progress, work.jobs or usable_cores(), work.board, hooks)
        if work.where.executor is None:
            return run_sweep(planned, context)
        with work.where.open(context, work.jobs, stages_of_sweep(planned)) as (executor, overview):
            return run_sweep_together(planned, context, executor, overview)


def _default_plot(home: Path, name: str) -> Path:
    from icrl_leaderboards.exchange.document import safe_name

    return home / "studies" / f"{safe_name(name.replace(' ', '-'))}.svg"


def _print_cells(runs: Sequence[StudyRun], name: str, total: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"study": name, "runs": [vars(run) for run in runs], "duration": total}))
        return
    from icrl_leaderboards.runs.record import format_value

    typer.echo(f"study: {name}")
    for run in runs:
        settings = ", ".join(f"{key}={format_value(value)}" for key, value in run.settings.items())
        typer.echo(f"  {settings}, seed {run.seed}  [run {run.run_id}]")
    for line in total_lines(total):
        typer.echo(line)
