"""`icrl-bench leaderboard`: puts its commands together."""

from __future__ import annotations

import typer

from icrl_bench.cli.commands import CommandGroup
from icrl_bench.cli.leaderboard import compare, exchange, figure, remove, report, show, studies, verify

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, rich_markup_mode=None)
app.command("show")(show.show)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("figure")(figure.figure)
app.command("export")(exchange.export)
app.command("submit")(exchange.submit)
app.command("import")(exchange.import_)
app.command("verify")(verify.verify)
app.command("rm")(remove.remove)
app.command("studies")(studies.studies)
