"""`icrl-bench leaderboard rm`: takes runs out of the leaderboard."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from icrl_bench.cli.agents.selection import complete_runs
from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace


@takes_groups
def remove(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN…", help="Run ids, or beginnings that no other id has.", autocompletion=complete_runs
        ),
    ],
    place: LeaderboardPlace,
    json_: JsonFlag = False,
) -> None:
    """Remove runs from the leaderboard. What they were made of stays: the same run command records them again."""
    with place.open() as board:
        ids = list(dict.fromkeys(board.find_runs(runs)))  # all names are known before the first run goes
        removed = [run_id for run_id in ids if board.delete(run_id)]
        location = board.place
    if json_:
        typer.echo(json.dumps({"leaderboard": location, "removed": removed}))
        return
    for run_id in removed:
        typer.echo(f"removed {run_id}")
