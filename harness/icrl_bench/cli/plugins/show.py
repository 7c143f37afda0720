"""`icrl-bench plugins show`: what a plugin is, whose, and what can be set."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from icrl_bench.cli.options import JsonFlag
from icrl_bench.cli.plugins.selection import KindOption, NameArgument, find

if TYPE_CHECKING:
    from icrl_registry.discovery import Plugin


def show_plugin(name: NameArgument, kind: KindOption = None, json_: JsonFlag = False) -> None:
    """Show one plugin: what it is, where it comes from, and every setting with its default."""
    plugin = find(name, kind)
    settings = _settings(plugin)
    entry, text = plugin.entry, _docstring(plugin)
    if json_:
        document = {**asdict(entry), "content_hash": plugin.content_hash, "description": text, "settings": settings}
        typer.echo(json.dumps(document))
        return
    typer.echo(f"{entry.kind} {entry.name}\n\n{text}\n")
    typer.echo(f"distribution  {entry.distribution} {entry.distribution_version}")
    typer.echo(f"class         {entry.value}")
    typer.echo(f"content hash  {plugin.content_hash}\n")
    if not settings:
        typer.echo("It has no settings.")
        return
    from icrl_leaderboards.terminal.listing import print_listing

    rows = [
        [f"{entry.kind}.{row['name']}", json.dumps(row["default"]), row["type"], row["description"]] for row in settings
    ]
    print_listing(["setting", "default", "type", "description"], rows)
    typer.echo(f"\nSet one with --set {rows[0][0]}=VALUE.")


def _settings(plugin: Plugin) -> list[dict[str, Any]]:
    """Every field of the configuration: name, default (null if it must be given), type, description."""
    rows = []
    for name, field in plugin.component.Config.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        kind = getattr(field.annotation, "__name__", None) if isinstance(field.annotation, type) else None
        rows.append(
            {
                "name": name,
                "default": json.loads(json.dumps(default, default=str)),
                "type": kind or str(field.annotation).replace("typing.", ""),
                "description": field.description or "",
            }
        )
    return rows


def _docstring(plugin: Plugin) -> str:
    import inspect

    return inspect.cleandoc(vars(plugin.component).get("__doc__") or "It has no description.")
