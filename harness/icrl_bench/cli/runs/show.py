"""`icrl-bench runs`: recorded runs one by one."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from icrl_bench.cli.agents.selection import RunArgument, find_record
from icrl_bench.cli.commands import CommandGroup
from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.leaderboard.selection import Filters
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace, home_folder

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, rich_markup_mode=None)


@app.command("show")
@takes_groups
def show(run: RunArgument, *, place: LeaderboardPlace, json_: JsonFlag = False) -> None:
    """Show one run: training curves, stages with their times, settings that differ from the protocol, diagnostics."""
    from icrl_bench.artefacts.store import Store
    from icrl_bench.runs.inspection import differences, training_log

    record = find_record(place, run)
    log, different = training_log(Store(home_folder(place.home)), record), differences(record)
    if not json_:
        from icrl_leaderboards.terminal.run_page import print_run

        shown = (
            different if isinstance(different, str) else [(each.key, each.value, each.protocols) for each in different]
        )
        print_run(record, log, shown)
        return
    document = {
        "run_id": record.run_id,
        "seconds": record.seconds,
        "env_steps": {name: getattr(record, f"{name}_env_steps") for name in ("collect", "train", "adapt")},
        "differences": different if isinstance(different, str) else [asdict(each) for each in different],
        "diagnostics": record.diagnostics,
        "training": None
        if log is None
        else {
            "updates": log.updates,
            "seconds": log.seconds,
            "updates_per_second": log.updates_per_second,
            "context_steps_per_second": log.steps_per_second(record.config),
            "curve": list(log.points),
        },
    }
    typer.echo(json.dumps({"run": document}, allow_nan=False))


@app.command("list")
@takes_groups
def list_runs(
    filters: Filters,
    limit: Annotated[int, typer.Option("--limit", min=0, help="The newest so many; 0 for all.")] = 30,
    *,
    place: LeaderboardPlace,
    json_: JsonFlag = False,
) -> None:
    """List recorded runs with their ids, the newest first."""
    with filters.open(place) as board:
        scores = board.scores(**filters.chosen)
    newest = sorted(scores, key=lambda run: (run.created_at, run.run_id), reverse=True)
    shown = newest[: limit or None]
    fields = ("run_id", "method", "environment", "protocol", "track", "seed", "created_at")
    rows = [{name: getattr(run, name) for name in fields} for run in shown]
    if json_:
        typer.echo(json.dumps({"runs": rows}))
        return
    if not rows:
        typer.echo(f"no run is recorded in {place.location}; `icrl-bench run` records one")
        return
    from icrl_leaderboards.terminal.listing import print_listing

    columns = ("run", "method", "environment", "protocol", "track", "seed", "recorded (UTC)")
    lines = [{**row, "created_at": row["created_at"][:16].replace("T", " ")} for row in rows]
    print_listing(columns, [[str(value) for value in line.values()] for line in lines])
    if len(newest) > len(shown):
        typer.echo(f"{len(newest) - len(shown):,} older ones: --limit 0 lists all")
