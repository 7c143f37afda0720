"""`icrl-bench leaderboard report`: the recorded runs as a page with adaptation curves and provenance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from icrl_bench.cli.leaderboard.selection import EnvFilter, MethodFilter, ProtocolFilter, open_leaderboard
from icrl_bench.cli.options import HomeOption, JsonFlag, LeaderboardOption


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

    with open_leaderboard(leaderboard, home, environment=env, method=method, protocol=protocol) as board:
        runs = board.runs(environment=env, method=method, protocol=protocol)
    tables = tables_of(group_runs([RunScores.from_record(run) for run in runs]))
    sections = HookManager().report_sections([row for table in tables for row in table.as_json()])
    paths = write_report(runs, out, sections)
    if json_:
        typer.echo(json.dumps({"paths": [str(path) for path in paths]}))
        return
    for path in paths:
        typer.echo(str(path))
