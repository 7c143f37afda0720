"""`icrl-bench plugins list`: what is installed, and whether it can be imported."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.options import JsonFlag
from icrl_bench.cli.plugins.patience import time_limit
from icrl_bench.cli.plugins.selection import KindOption
from icrl_registry.errors import BenchError

if TYPE_CHECKING:
    from icrl_registry.discovery import PluginEntry


def list_installed(
    kind: KindOption = None,
    load: Annotated[bool, typer.Option("--load/--no-load", help="Import each plugin to see whether it works.")] = True,
    patience: Annotated[
        float, typer.Option("--patience", metavar="SECONDS", min=0.1, help="How long one plugin's import may take.")
    ] = 30.0,
    json_: JsonFlag = False,
) -> None:
    """List what is installed. A broken plugin, or one whose import never ends, is shown as such and hurts nothing else."""
    from icrl_registry.discovery import list_plugins, unreadable_distributions

    rows = [_status(entry, load, patience) for entry in list_plugins(kind)]
    if kind is None:
        rows += _hook_rows(load, patience)
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


def _status(entry: PluginEntry, load: bool, patience: float) -> dict[str, Any]:
    """One row of the list; with `load`, whether the plugin can be imported and is the only one of its name."""
    from icrl_registry.discovery import load_entry, resolve

    row: dict[str, Any] = asdict(entry)
    if not load:
        return row
    try:
        with time_limit(patience, f"{entry.kind} '{entry.name}' of {entry.distribution}"):
            row["content_hash"] = load_entry(entry).content_hash
        resolve(entry.kind, entry.name)
    except BenchError as error:
        return {**row, "status": "broken", "error": error.message, "hint": error.hint}
    return {**row, "status": "ok"}


def _hook_rows(load: bool, patience: float) -> list[dict[str, Any]]:
    """The hook modules, each registered by itself so that one's failure is its own."""
    from icrl_registry.discovery import import_entry
    from icrl_registry.hooks import GROUP, HookManager

    rows: list[dict[str, Any]] = []
    for entry in HookManager().entries:
        row: dict[str, Any] = asdict(entry)
        if load:
            try:
                with time_limit(patience, f"hooks '{entry.name}' of {entry.distribution}"):
                    HookManager(entries=[]).register(import_entry(entry, GROUP), entry.distribution, entry.name)
                row["status"] = "ok"
            except BenchError as error:
                row.update(status="broken", error=error.message, hint=error.hint)
        rows.append(row)
    return rows


def _cell(row: dict[str, Any], column: str) -> str:
    if column == "distribution":
        return f"{row['distribution']} {row['distribution_version']}"
    return str(row[column])
