"""`icrl-bench data`: puts its commands together."""

from __future__ import annotations

import typer

from icrl_bench.cli.commands import CommandGroup
from icrl_bench.cli.data import cleaning, exchange, listing, look

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, rich_markup_mode=None)
app.command("list")(listing.list_data)
app.command("show")(look.show_data)
app.command("verify")(look.verify_data)
app.command("plot")(look.plot_data)
app.command("import")(exchange.import_)
app.command("export")(exchange.export)
app.command("rm")(cleaning.remove)
app.command("gc")(cleaning.collect_garbage)
