"""`icrl-bench leaderboard report`: the recorded runs as a page with plots, rankings, costs and provenance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from icrl_bench.cli.leaderboard.selection import EnvFilter, MethodFilter, ProtocolFilter, TrackFilter, open_leaderboard
from icrl_bench.cli.options import HomeOption, JsonFlag, LeaderboardOption


def report(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for report.md and index.html.", file_okay=False)],
    env: EnvFilter = None,
    method: MethodFilter = None,
    protocol: ProtocolFilter = None,
    track: TrackFilter = None,
    home: HomeOption = None,
    leaderboard: LeaderboardOption = None,
    json_: JsonFlag = False,
) -> None:
    """Write a report: one self-contained HTML page with rankings, plots and provenance, and the same as Markdown."""
    from icrl_leaderboards.analysis.summary import group_runs, tables_of
    from icrl_leaderboards.report.writing import details_for, write_report
    from icrl_registry.hooks import HookManager

    with open_leaderboard(leaderboard, home, environment=env, method=method, protocol=protocol, track=track) as board:
        scores = board.scores(environment=env, method=method, protocol=protocol, track=track)
        details = details_for(scores, board)
    rows = [row for table in tables_of(group_runs(scores)) for row in table.as_json()]
    paths = write_report(scores, out, HookManager().report_sections(rows), details)
    if json_:
        typer.echo(json.dumps({"paths": [str(path) for path in paths]}))
        return
    for path in paths:
        typer.echo(str(path))
