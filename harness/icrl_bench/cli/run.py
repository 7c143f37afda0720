"""`icrl-bench run`: collect, train, adapt, record."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

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
from icrl_bench.cpu_settings import set_for_training
from icrl_registry.errors import UsageError

if TYPE_CHECKING:
    from icrl_bench.plan import Plan
    from icrl_leaderboards.runs.record import RunRecord
    from icrl_registry.contracts import Track


LARGEST_SEED = 2**31 - 1  # what every database keeps as an integer


def run(
    method: MethodOption,
    env: EnvOption,
    protocol: ProtocolOption = "laptop",
    seeds: SeedsOption = None,
    track: TrackOption = "online",
    device: DeviceOption = "auto",
    set_: SetOption = None,
    config: ConfigOption = None,
    home: HomeOption = None,
    leaderboard: LeaderboardOption = None,
    jobs: JobsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    json_: JsonFlag = False,
) -> None:
    """Collect learning histories, meta-train a method, let it adapt to unseen tasks, and record every return.

    Artefacts that exist are not made again: the same command continues after any interruption.
    """
    set_for_training()
    from icrl_bench.execution import describe, execute, stage_names
    from icrl_bench.plan import Request, make_plan
    from icrl_bench.progress import Progress
    from icrl_bench.store import Store
    from icrl_registry.configuration import merge, parse_assignments, read_config_file
    from icrl_registry.protocols.loading import load_protocol

    chosen = load_protocol(protocol)
    overrides = merge(read_config_file(config) if config else {}, parse_assignments(set_ or []))
    seed_list = parse_seeds(seeds) if seeds is not None else list(chosen.seeds)
    store = Store(home_folder(home))
    with contextlib.redirect_stdout(sys.stderr):  # what a plugin prints is no part of the result
        plan = make_plan(Request(method, env, chosen, overrides, choose_device(device), check_track(track)))
        if plan.replays_source and seeds is None:
            seed_list = seed_list[:1]  # the histories depend on the protocol's data seed: every seed gives one row
        description = describe(plan, seed_list, store)
    if dry_run:
        typer.echo(json.dumps({"plan": description}, indent=1) if json_ else _plan_text(description, full=True))
        return
    if not json_:
        typer.echo(_plan_text(description), err=True)

    from icrl_leaderboards.database.leaderboard import Leaderboard
    from icrl_registry.hooks import HookManager

    board = Leaderboard(leaderboard_url(leaderboard, home))
    hooks = HookManager()
    with (
        contextlib.redirect_stdout(sys.stderr),
        Progress(stage_names(seed_list), quiet=json_, on_event=hooks.progress) as progress,
    ):
        records = execute(plan, seed_list, store, board, jobs or usable_cores(), progress, hooks)
    _print_result(records, board, plan, json_)


def _print_result(records: Sequence[RunRecord], board: Any, plan: Plan, as_json: bool) -> None:
    from icrl_leaderboards.analysis.summary import summarise_run

    if as_json:
        typer.echo(json.dumps({"runs": [summarise_run(record) for record in records]}, allow_nan=False))
        return
    from icrl_leaderboards.terminal.tables import print_leaderboard

    print_leaderboard(
        board.runs(environment=plan.environment_id, protocol=plan.protocol_label, track=plan.request.track)
    )
    typer.echo("\n`icrl-bench leaderboard report --out report` draws the adaptation curves.", err=True)


def check_track(track: str) -> Track:
    if track not in ("online", "offline"):
        raise UsageError(f"unknown track '{track}'", "online or offline")
    return cast("Track", track)


def parse_seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0 or max(seeds) > LARGEST_SEED or len(set(seeds)) != len(seeds):
        raise UsageError(
            f"cannot read --seeds {text!r}",
            f"write distinct integers from 0 to {LARGEST_SEED}, such as --seeds 0,1,2",
        )
    return seeds


def usable_cores() -> int:
    """Cores that this process may run on, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(device: str) -> str:
    if device == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise UsageError(f"unknown device '{device}'", "auto, cpu or cuda:N")
    index, count = int(match[1] or 0), torch.cuda.device_count()
    if index >= count:
        hint = (
            f"this machine has {count} CUDA devices, counted from 0" if count else "install the extra `cuda` with a GPU"
        )
        raise UsageError(f"no CUDA device for --device {device}", f"use --device cpu; {hint}")
    return f"cuda:{index}"


def _plan_text(plan: dict[str, Any], full: bool = False) -> str:
    tasks = plan["tasks"]
    count = sum(tasks.values())
    splits = ", ".join(f"{number} {split}" for split, number in tasks.items())
    lines = [
        f"{plan['method']} on {plan['env']}, protocol {plan['protocol']}, {plan['track']} track, {plan['device']}",
        f"  home     {plan['home']}",
        f"  tasks    {splits}",
        f"  collect  {plan['source']}, {plan['steps_per_task']:,} env steps a task: {plan['histories_done']} of {count} "
        f"histories there  [data set {plan['dataset']}]",
    ]
    for entry in plan["runs"]:
        trained = "train: done" if entry["trained"] else "train: to do"
        adapted = "adapt: done" if entry["adapted"] else "adapt: to do"
        lines.append(f"  seed {entry['seed']:<3} {trained}, {adapted}  [run {entry['run_id']}]")
    if full:
        for section, settings in plan["config"].items():
            lines += [f"  {section}.{key} = {value}" for key, value in settings.items()]
    return "\n".join(lines)
