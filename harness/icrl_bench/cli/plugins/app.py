"""`icrl-bench plugins`: puts its commands together."""

from __future__ import annotations

import typer

from icrl_bench.cli.plugins import check, listing, new, show

app = typer.Typer(no_args_is_help=True)
app.command("list")(listing.list_installed)
app.command("show")(show.show_plugin)
app.command("check")(check.check_plugin)
app.command("new")(new.new_plugin)
