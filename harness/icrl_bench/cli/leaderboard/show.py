"""`icrl-bench leaderboard show`: the recorded runs as tables."""

from __future__ import annotations

import json

import typer

from icrl_bench.cli.leaderboard.selection import EnvFilter, MethodFilter, ProtocolFilter, TrackFilter, open_leaderboard
from icrl_bench.cli.options import HomeOption, JsonFlag, LeaderboardOption


def show(
    env: EnvFilter = None,
    method: MethodFilter = None,
    protocol: ProtocolFilter = None,
    track: TrackFilter = None,
    home: HomeOption = None,
    leaderboard: LeaderboardOption = None,
    json_: JsonFlag = False,
) -> None:
    """Print the recorded runs, grouped over seeds: one table per environment, protocol and track."""
    from icrl_leaderboards.summary import group_runs, tables_of
    from icrl_leaderboards.tables import print_leaderboard

    with open_leaderboard(leaderboard, home, environment=env, method=method, protocol=protocol, track=track) as board:
        scores = board.scores(environment=env, method=method, protocol=protocol, track=track)
        place = board.place
    if not json_:
        print_leaderboard(scores)
        return
    rows = [row for table in tables_of(group_runs(scores)) for row in table.as_json()]
    typer.echo(json.dumps({"leaderboard": place, "rows": rows}, allow_nan=False))
