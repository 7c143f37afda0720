"""`icrl-bench protocols`: what there is, what one says, whether a file is one, and how two differ."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli import completion
from icrl_bench.cli.commands import CommandGroup
from icrl_bench.cli.options import JsonFlag
from icrl_registry.errors import EXIT_VERIFICATION, BenchError

if TYPE_CHECKING:
    from icrl_registry.protocols.model import Protocol

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[
    str,
    typer.Argument(
        metavar="PROTOCOL",
        help="laptop, an id such as laptop-v1, or a path to a TOML file.",
        autocompletion=completion.protocols,
    ),
]


@app.command("list")
def list_all(json_: JsonFlag = False) -> None:
    """List the protocols that come with the package and with plugins."""
    from icrl_registry.protocols.loading import list_protocols, load_protocol, plugin_protocols

    rows = []
    shipped = plugin_protocols()
    for name in sorted({*list_protocols(), *shipped}):
        by = shipped[name].distribution if name in shipped else "icrl-bench"
        try:
            row = {"id": name, "from": by, "summary": load_protocol(name).summary, "error": None}
        except BenchError as error:  # a plugin's broken file hurts nobody else
            row = {"id": name, "from": by, "summary": "", "error": error.message}
        rows.append(row)
    if json_:
        typer.echo(json.dumps({"protocols": rows}))
        return
    width = max(len(str(row["id"])) for row in rows)
    for row in rows:
        typer.echo(f"{row['id']:{width}}  {row['error'] or row['summary']}")


@app.command("show")
def show(protocol: Name, json_: JsonFlag = False) -> None:
    """Print a protocol with everything that it extends, one line a key."""
    from icrl_registry.protocols.loading import load_protocol

    loaded = load_protocol(protocol)
    if json_:
        typer.echo(json.dumps({"protocol": _tables(loaded), "sha256": loaded.sha256}))
        return
    for key, value in _flat(_tables(loaded)).items():
        typer.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}")


@app.command("check")
def check(protocol: Name, json_: JsonFlag = False) -> None:
    """Check a protocol file: its form, its tasks against their hash, every setting against its component.

    Exit code 5 if something is wrong.
    """
    from icrl_registry.protocols.loading import load_protocol

    loaded = load_protocol(protocol)
    found = {environment: fault_in(loaded, environment) for environment in sorted(loaded.environments)}
    faults = {environment: fault for environment, fault in found.items() if fault}
    if json_:
        typer.echo(json.dumps({"id": loaded.id, "sha256": loaded.sha256, "environments": found}))
    else:
        for environment, fault in found.items():
            typer.echo(f"{environment}: {fault or 'ok'}")
    if faults:
        raise typer.Exit(EXIT_VERIFICATION)


@app.command("diff")
def diff(first: Name, second: Name, json_: JsonFlag = False) -> None:
    """Print the keys in which two protocols differ, with both values."""
    from icrl_registry.protocols.loading import load_protocol

    left, right = (_flat(_tables(load_protocol(name))) for name in (first, second))
    changed = {
        key: [left.get(key), right.get(key)]
        for key in dict.fromkeys([*left, *right])
        if left.get(key) != right.get(key) or (key in left) != (key in right)
    }
    if json_:
        typer.echo(json.dumps({"differences": changed}))
        return
    for key in changed:
        before, after = (json.dumps(side[key], ensure_ascii=False) if key in side else "–" for side in (left, right))
        typer.echo(f"{key}: {before} → {after}")


def fault_in(protocol: Protocol, environment: str) -> str | None:
    """What is wrong with a protocol's part for one environment; None if nothing is, as far as its plugins are here."""
    from icrl_registry.configuration import build_config
    from icrl_registry.discovery import load
    from icrl_registry.protocols.splits import draw_tasks

    try:
        plan = protocol.plan_for(environment)
        component = load("environment", environment).component
        made = component(build_config(component.Config, plan.settings.get("environment", {}), "environment"))
        draw_tasks(made, plan.split)
        build_config(load("source", plan.source).component.Config, plan.settings.get("source", {}), "source")
        for kind, layers in (
            ("method", (protocol.method, plan.method)),
            ("backbone", (protocol.backbone, plan.backbone)),
        ):
            for name in {name: None for layer in layers for name in layer}:
                plugin = name.partition("-")[0] if _is_pairing(kind, name) else name
                tables = [layer.get(each, {}) for layer in layers for each in dict.fromkeys((plugin, name))]
                build_config(
                    load(kind, plugin).component.Config,
                    {key: value for table in tables for key, value in table.items()},
                    f"{kind}.{name}",
                )
    except BenchError as error:
        return error.message
    return None


def _is_pairing(kind: str, name: str) -> bool:
    """`ad-dt` is a table for the method ad with the backbone dt, unless a method is called so."""
    from icrl_registry.discovery import list_plugins

    return kind == "method" and "-" in name and name not in {entry.name for entry in list_plugins("method")}


def _tables(protocol: Protocol) -> dict[str, Any]:
    return protocol.model_dump(mode="json", exclude_none=True)


def _flat(tables: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"method.ad.updates": 1000, …}`."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return flat
