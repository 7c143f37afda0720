"""`icrl-bench leaderboard show`: the recorded runs as tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.leaderboard.selection import Filters, collector_paused
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icrl_leaderboards.scores import RunScores


@takes_groups
def show(
    filters: Filters,
    *,
    sort: Annotated[
        str,
        typer.Option("--sort", metavar="COLUMN", help="Best first by this column; times and counts smallest first."),
    ] = "last_episodes",
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="NAME,…",
            help="Such as seeds,score_iqm,regret; `all` for every one.  [default: results and costs]",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="Rows of each table in the terminal, the best first; 0 for all.")
    ] = 30,
    place: LeaderboardPlace,
    json_: JsonFlag = False,
) -> None:
    """Print the recorded runs, grouped over seeds: one table per environment, protocol and track.

    With --json every row and every statistic is there, whatever --columns and --limit say.
    """
    from icrl_leaderboards.columns import COLUMNS, DEFAULT_COLUMNS, choose_column, choose_columns
    from icrl_leaderboards.tables import print_leaderboard

    names = {None: DEFAULT_COLUMNS, "all": tuple(COLUMNS)}.get(columns) or tuple((columns or "").split(","))
    choose_columns(names)
    choose_column(sort)
    with collector_paused():
        with filters.open(place) as board:
            scores = board.scores(**filters.chosen)
            location = board.place
        if json_:
            typer.echo(json.dumps({"leaderboard": location, "rows": _json_rows(scores, sort)}, allow_nan=False))
        else:
            print_leaderboard(scores, columns=names, sort=sort, limit=limit)


def _json_rows(scores: Sequence[RunScores], sort: str) -> list[dict[str, Any]]:
    from icrl_leaderboards.columns import choose_column, sorted_entries
    from icrl_leaderboards.summary import compute_statistics, group_runs, tables_of

    rows = group_runs(scores)
    compute_statistics(rows)
    return [
        table.entry_as_json(entry, every_statistic=True)
        for table in tables_of(rows)
        for entry in sorted_entries(table, choose_column(sort))
    ]
