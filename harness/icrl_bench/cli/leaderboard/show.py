"""`icrl-bench leaderboard show`: the recorded runs as tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.leaderboard.selection import Filters, collector_paused
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace
from icrl_registry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icrl_leaderboards.runs.scores import RunScores


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
        int | None,
        typer.Option(
            "--limit", min=0, help="Rows of each table, the best first; 0 for all.  [default: 30; files: all]"
        ),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", "-f", help="table, or for other programs latex, markdown or csv.")
    ] = "table",
    place: LeaderboardPlace,
    json_: JsonFlag = False,
) -> None:
    """Print the recorded runs, grouped over seeds: one table per environment, protocol and track.

    With --json every row and every statistic is there, whatever --columns and --limit say.
    """
    from icrl_leaderboards.terminal.formats import FORMATS, format_tables
    from icrl_leaderboards.terminal.tables import print_leaderboard
    from icrl_leaderboards.wording.columns import COLUMNS, choose_column, choose_columns

    names = tuple(COLUMNS) if columns == "all" else None if columns is None else tuple(columns.split(","))
    choose_columns(names or ())
    choose_column(sort)
    if format_ not in ("table", *FORMATS):
        raise UsageError(f"unknown format '{format_}'", f"table, {', '.join(FORMATS)}; or --json")
    with collector_paused():
        with filters.open(place) as board:
            scores = board.scores(**filters.chosen)
            location = board.place
        if json_:
            typer.echo(json.dumps({"leaderboard": location, "rows": _json_rows(scores, sort)}, allow_nan=False))
        elif format_ != "table":
            typer.echo(format_tables(scores, format_, names, sort, limit or 0), nl=False)
        else:
            shown = 30 if limit is None else limit
            print_leaderboard(scores, columns=names, sort=sort, limit=shown, certificates=board.certificates())


def _json_rows(scores: Sequence[RunScores], sort: str) -> list[dict[str, Any]]:
    from icrl_leaderboards.analysis.summary import compute_statistics, group_runs, tables_of
    from icrl_leaderboards.wording.columns import choose_column, sorted_entries

    rows = group_runs(scores)
    compute_statistics(rows)
    return [
        table.entry_as_json(entry, every_statistic=True)
        for table in tables_of(rows)
        for entry in sorted_entries(table, choose_column(sort))
    ]
