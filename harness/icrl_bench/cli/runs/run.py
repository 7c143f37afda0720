"""`icrl-bench run`: collect, train, adapt, record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.options import JobsOption, JsonFlag, LeaderboardPlace, RunOptions, home_folder
from icrl_bench.cli.runs.durations import about, total_lines
from icrl_bench.cli.runs.executing import ExecutorOptions
from icrl_bench.machine.cores import usable_cores
from icrl_bench.machine.cpu_settings import set_for_training
from icrl_bench.machine.kernel_cache import remove_unfinished_kernels
from icrl_bench.machine.streams import stdout_for_the_result
from icrl_bench.machine.verbosity import verbosity

if TYPE_CHECKING:
    from icrl_bench.planning import Plan
    from icrl_leaderboards.runs.record import RunRecord


@takes_groups
def run(
    options: RunOptions,
    place: LeaderboardPlace,
    where: ExecutorOptions,
    jobs: JobsOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and how long it will take, and stop.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Collect learning histories, meta-train a method, let it adapt to unseen tasks, and record every return.

    Artefacts that exist are not made again: the same command continues after any interruption.
    """
    set_for_training()
    remove_unfinished_kernels()
    where.check(place.location)
    from icrl_bench.artefacts.store import Store
    from icrl_bench.machine.progress import Progress
    from icrl_bench.planning import make_plan
    from icrl_bench.runs.durations.estimate import Speeds
    from icrl_bench.runs.execution import describe_plan, execute, execute_together, names_of, stages_of
    from icrl_bench.stages.stage import Context

    store = Store(home_folder(place.home))
    with stdout_for_the_result():  # what a plugin prints is no part of the result
        plan = make_plan(options.request(where.device))
        seeds = options.seed_list or plan.default_seeds
        speeds = Speeds(store, jobs or usable_cores()) if dry_run else None
        description = describe_plan(plan, seeds, store, speeds)
    if dry_run:
        typer.echo(json.dumps({"plan": description}, indent=1) if json_ else _plan_text(description, full=True))
        return
    if not json_ and verbosity() != "quiet":
        typer.echo(_plan_text(description), err=True)

    board = place.open()
    board.reach()
    with (
        stdout_for_the_result(),
        where.hooks(store) as hooks,
        Progress(names_of(stages_of(plan, seeds)), quiet=json_, on_event=hooks.progress) as progress,
    ):
        context = Context(store, progress, jobs or usable_cores(), board, hooks)
        if where.executor is None:
            records = execute(plan, seeds, context)
        else:
            with where.open(context, jobs, stages_of(plan, seeds)) as (executor, overview):
                records = execute_together(plan, seeds, context, executor, overview)
    _print_result(records, board, plan, json_)


def _print_result(records: Sequence[RunRecord], board: Any, plan: Plan, as_json: bool) -> None:
    from icrl_leaderboards.analysis.summary import summarise_run

    if as_json:
        typer.echo(json.dumps({"runs": [summarise_run(record) for record in records]}, allow_nan=False))
        return
    from icrl_leaderboards.terminal.run_page import print_rise
    from icrl_leaderboards.terminal.tables import print_leaderboard

    print_leaderboard(
        board.runs(environment=plan.environment_id, protocol=plan.protocol_label, track=plan.request.track)
    )
    if records:
        print_rise(records)
    typer.echo("\n`icrl-bench leaderboard report --out report` draws the adaptation curves.", err=True)


def _plan_text(plan: dict[str, Any], full: bool = False) -> str:
    splits = ", ".join(f"{number} {split}" for split, number in plan["tasks"].items())
    lines = [
        f"{plan['method']} on {plan['env']}, protocol {plan['protocol']}, {plan['track']} track, {plan['device']}",
        f"  home     {plan['home']}",
        f"  tasks    {splits}",
        *([f"  source   {plan['source_note']}"] if plan["source_note"] else []),
        *(
            f"  {each['kind']:<8} {each['status']}{_time_of(each)}  [{each['address']}]"
            for each in plan["stages"]
            if each["seed"] is None
        ),
    ]
    for entry in plan["runs"]:
        stages = [each for each in plan["stages"] if each["seed"] == entry["seed"]]
        words = ", ".join(f"{each['kind']}: {each['status']}{_time_of(each)}" for each in stages)
        lines.append(f"  seed {entry['seed']:<3} {words}  [run {entry['run_id']}]")
    if "duration" in plan:
        first, *rest = total_lines(plan["duration"])
        lines += [f"  time     {first}", *(f"           {line}" for line in rest)]
    if full:
        for section, settings in plan["config"].items():
            lines += [f"  {section}.{key} = {value}" for key, value in settings.items()]
    return "\n".join(lines)


def _time_of(stage: Mapping[str, Any]) -> str:
    """`, about 12 min`, of a stage with something left to do in a plan that was timed."""
    words = about(stage["seconds"]) if "seconds" in stage else ""
    return f", {words}" if words else ""
