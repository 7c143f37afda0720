"""`icrl-bench plugins list`: what is installed, and whether it can be imported."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.options import JsonFlag
from icrl_bench.cli.plugins.patience import try_apart
from icrl_bench.cli.plugins.selection import KindOption
from icrl_registry.errors import BenchError

if TYPE_CHECKING:
    from icrl_registry.discovery import PluginEntry


def list_installed(
    kind: KindOption = None,
    load: Annotated[bool, typer.Option("--load/--no-load", help="Import each plugin to see whether it works.")] = True,
    patience: Annotated[
        float, typer.Option("--patience", metavar="SECONDS", min=0.1, help="How long one plugin's import may take.")
    ] = 60.0,
    json_: JsonFlag = False,
) -> None:
    """List what is installed. A plugin that is broken, or whose import hangs or crashes, is shown as such and hurts nothing."""
    from icrl_registry.discovery import list_plugins, unreadable_distributions
    from icrl_registry.hooks import HookManager

    entries = list_plugins(kind)
    hooks = list(HookManager().entries) if kind is None else []
    rows: list[dict[str, Any]] = [asdict(entry) for entry in [*entries, *hooks]]
    if load:
        attempts = [partial(_try, entry) for entry in entries] + [partial(_try_hooks, entry) for entry in hooks]
        for row, found in zip(rows, try_apart(attempts, patience), strict=True):
            row |= _broken(found) if isinstance(found, BenchError) else found
    unreadable = [{"distribution": name, "error": error} for name, error in unreadable_distributions()]
    if json_:
        typer.echo(json.dumps({"plugins": rows, "unreadable": unreadable}))
        return
    from icrl_leaderboards.terminal.listing import print_listing

    columns = ["kind", "name", "distribution", *(["status"] if load else [])]
    print_listing(columns, [[_cell(row, column) for column in columns] for row in rows])
    for row in rows:
        if row.get("status") == "broken":
            typer.echo(f"\nbroken: {row['error']}\nhint: {row['hint']}")
    for row in unreadable:
        typer.echo(f"\nunreadable: the entry points of {row['distribution']}: {row['error']}")


def _try(entry: PluginEntry) -> dict[str, Any]:
    """Whether the plugin can be imported and is the only one of its name."""
    from icrl_registry.discovery import load_entry, resolve

    row: dict[str, Any] = {}
    try:
        row["content_hash"] = load_entry(entry).content_hash
        resolve(entry.kind, entry.name)
    except BenchError as error:
        return row | _broken(error)
    return row | {"status": "ok"}


def _try_hooks(entry: PluginEntry) -> dict[str, Any]:
    """Whether a module of hooks is accepted; each is registered by itself so that one's failure is its own."""
    from icrl_registry.discovery import import_entry
    from icrl_registry.hooks import GROUP, HookManager

    try:
        HookManager(entries=[]).register(import_entry(entry, GROUP), entry.distribution, entry.name)
    except BenchError as error:
        return _broken(error)
    return {"status": "ok"}


def _broken(error: BenchError) -> dict[str, Any]:
    return {"status": "broken", "error": error.message, "hint": error.hint}


def _cell(row: dict[str, Any], column: str) -> str:
    if column == "distribution":
        return f"{row['distribution']} {row['distribution_version']}"
    return str(row[column])
