"""`icrl-bench leaderboard`: puts its commands together."""

from __future__ import annotations

import typer

from icrl_bench.cli.leaderboard import report, show

app = typer.Typer(no_args_is_help=True)
app.command("show")(show.show)
app.command("report")(report.report)
