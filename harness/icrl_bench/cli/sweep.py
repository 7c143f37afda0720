"""`icrl-bench sweep`: a method at every combination of some settings, as one study."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icrl_bench.cli.options import (
    ConfigOption,
    DeviceOption,
    EnvOption,
    HomeOption,
    JobsOption,
    JsonFlag,
    LeaderboardOption,
    MethodOption,
    ProtocolOption,
    SeedsOption,
    SetOption,
    TrackOption,
    home_folder,
    leaderboard_url,
)
from icrl_bench.cli.run import check_track, choose_device, parse_seeds, usable_cores
from icrl_bench.cpu_settings import set_for_training
from icrl_registry.errors import EXIT_RUN_FAILED

if TYPE_CHECKING:
    from icrl_bench.store import Store
    from icrl_bench.sweeps import Sweep
    from icrl_leaderboards.database.leaderboard import Leaderboard
    from icrl_leaderboards.database.studies import Study, StudyRun


def sweep(
    method: MethodOption,
    env: EnvOption,
    vary: Annotated[
        list[str],
        typer.Option("--vary", metavar="KEY=V1,V2,…", help="A setting and its values; several make a grid."),
    ],
    protocol: ProtocolOption = "laptop",
    seeds: SeedsOption = None,
    track: TrackOption = "online",
    device: DeviceOption = "auto",
    set_: SetOption = None,
    config: ConfigOption = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The study's name.  [default: of method, environment and settings]")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Picture to write, SVG or PNG.  [default: in HOME/studies]", dir_okay=False),
    ] = None,
    home: HomeOption = None,
    leaderboard: LeaderboardOption = None,
    jobs: JobsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and stop.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Run a method at every combination of settings, and record the grid as one study.

    The same command continues after an interruption. A cell that fails stops no other; exit code 1 if any failed.
    """
    set_for_training()
    from icrl_bench.plan import Request
    from icrl_bench.store import Store
    from icrl_bench.sweeps import parse_axes, plan_sweep
    from icrl_leaderboards.database.leaderboard import Leaderboard
    from icrl_registry.configuration import merge, parse_assignments, read_config_file
    from icrl_registry.protocols.loading import load_protocol

    chosen, axes = load_protocol(protocol), parse_axes(vary)
    overrides = merge(read_config_file(config) if config else {}, parse_assignments(set_ or []))
    store = Store(home_folder(home))
    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints is no part of the result
        request = Request(method, env, chosen, overrides, choose_device(device), check_track(track))
        planned = plan_sweep(request, axes, parse_seeds(seeds) if seeds is not None else None, name)
    if dry_run:
        _print_cells(planned.study().runs, planned.name, json_)
        return
    with Leaderboard(leaderboard_url(leaderboard, home)) as board:
        study = _run(planned, store, board, jobs or usable_cores(), json_)
        scores = board.scores(run_ids=study.run_ids)
    from icrl_bench.cli.leaderboard.studies import show_study

    failed = show_study(study, scores, plot or _default_plot(store.root, planned.name), json_)
    if failed:
        raise typer.Exit(EXIT_RUN_FAILED)


def _run(planned: Sweep, store: Store, board: Leaderboard, jobs: int, quiet: bool) -> Study:
    from icrl_bench.progress import Progress
    from icrl_bench.sweeps import run_sweep
    from icrl_registry.hooks import HookManager

    hooks = HookManager()
    with contextlib.redirect_stdout(sys.stderr):
        return run_sweep(
            planned, store, board, jobs, lambda stages: Progress(stages, quiet=quiet, on_event=hooks.progress), hooks
        )


def _default_plot(home: Path, name: str) -> Path:
    from icrl_leaderboards.exchange.document import safe_name

    return home / "studies" / f"{safe_name(name.replace(' ', '-'))}.svg"


def _print_cells(runs: Sequence[StudyRun], name: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"study": name, "runs": [vars(run) for run in runs]}))
        return
    from icrl_leaderboards.database.studies import format_value

    typer.echo(f"study: {name}")
    for run in runs:
        settings = ", ".join(f"{key}={format_value(value)}" for key, value in run.settings.items())
        typer.echo(f"  {settings}, seed {run.seed}  [run {run.run_id}]")
