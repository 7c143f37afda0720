"""`icrl-bench plugins`: puts its commands together."""

from __future__ import annotations

import typer

from icrl_bench.cli.commands import CommandGroup
from icrl_bench.cli.plugins import check, listing, new, show

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, rich_markup_mode=None)
app.command("list")(listing.list_installed)
app.command("show")(show.show_plugin)
app.command("check")(check.check_plugin)
app.command("new")(new.new_plugin)
