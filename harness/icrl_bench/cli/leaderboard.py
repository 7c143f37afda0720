"""`icrl-bench leaderboard`: the recorded runs as tables, and as a report with adaptation curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icrl_bench.cli.options import HomeOption, JsonFlag, LeaderboardOption, leaderboard_url

if TYPE_CHECKING:
    from icrl_leaderboards.store import Leaderboard

app = typer.Typer(no_args_is_help=True)

EnvFilter = Annotated[str | None, typer.Option("--env", "-e", help="Only this environment; all versions without one.")]
MethodFilter = Annotated[str | None, typer.Option("--method", "-m", help="Only this method, such as ad-mamba.")]
ProtocolFilter = Annotated[
    str | None, typer.Option("--protocol", "-p", help="Only this protocol; all versions without one.")
]


@app.command("show")
def show(
    env: EnvFilter = None,
    method: MethodFilter = None,
    protocol: ProtocolFilter = None,
    home: HomeOption = None,
    leaderboard: LeaderboardOption = None,
    json_: JsonFlag = False,
) -> None:
    """Print the recorded runs, grouped over seeds: one table per environment, protocol and track."""
    from icrl_leaderboards.summary import group_runs, tables_of
    from icrl_leaderboards.tables import print_leaderboard

    with _open(leaderboard, home, env, method, protocol) as board:
        scores = board.scores(environment=env, method=method, protocol=protocol)
        place = board.place
    if not json_:
        print_leaderboard(scores)
        return
    rows = [row for table in tables_of(group_runs(scores)) for row in table.as_json()]
    typer.echo(json.dumps({"leaderboard": place, "rows": rows}, allow_nan=False))


@app.command("report")
def report(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for report.md and index.html.", file_okay=False)],
    env: EnvFilter = None,
    method: MethodFilter = None,
    protocol: ProtocolFilter = None,
    home: HomeOption = None,
    leaderboard: LeaderboardOption = None,
    json_: JsonFlag = False,
) -> None:
    """Write a report: Markdown and one self-contained HTML page with adaptation curves and provenance."""
    from icrl_leaderboards.report.writing import write_report
    from icrl_leaderboards.scores import RunScores
    from icrl_leaderboards.summary import group_runs, tables_of
    from icrl_registry.hooks import HookManager

    with _open(leaderboard, home, env, method, protocol) as board:
        runs = board.runs(environment=env, method=method, protocol=protocol)
    tables = tables_of(group_runs([RunScores.from_record(run) for run in runs]))
    sections = HookManager().report_sections([row for table in tables for row in table.as_json()])
    paths = write_report(runs, out, sections)
    if json_:
        typer.echo(json.dumps({"paths": [str(path) for path in paths]}))
        return
    for path in paths:
        typer.echo(str(path))


def _open(
    leaderboard: str | None, home: Path | None, env: str | None, method: str | None, protocol: str | None
) -> Leaderboard:
    """The leaderboard, in which every name that was asked for occurs."""
    from icrl_leaderboards.store import Leaderboard

    board = Leaderboard(leaderboard_url(leaderboard, home))
    board.require_names(environment=env, method=method, protocol=protocol)
    return board
