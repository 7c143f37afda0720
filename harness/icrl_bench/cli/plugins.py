"""`icrl-bench plugins list | show | check`: what is installed, what it takes, and whether it keeps its contract."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.options import JsonFlag
from icrl_registry.errors import EXIT_VERIFICATION, BenchError, UsageError, unknown_name

if TYPE_CHECKING:
    from icrl_registry.discovery import Plugin, PluginEntry
    from icrl_registry.testing.conformance import CheckResult

app = typer.Typer(no_args_is_help=True)

KindOption = Annotated[
    str | None, typer.Option("--kind", "-k", help="environment, source, backbone or method.  [default: any]")
]
NameArgument = Annotated[str, typer.Argument(help="A name that `plugins list` shows, such as pusher-goal or mamba.")]

#: Environment steps of a source that is checked: past the warm-up of those that have one, and four trainings in seconds.
CHECK_STEPS = 700


class ContractViolation(BenchError):
    """A plugin failed conformance checks."""

    kind = "conformance"
    exit_code = EXIT_VERIFICATION


@app.command("list")
def list_installed(
    kind: KindOption = None,
    load: Annotated[bool, typer.Option("--load/--no-load", help="Import each plugin to see whether it works.")] = True,
    json_: JsonFlag = False,
) -> None:
    """List what is installed. A broken plugin is shown with its error and hurts nothing else."""
    from icrl_registry.discovery import list_plugins, unreadable_distributions

    rows = [_status(entry, load) for entry in list_plugins(kind)]
    if kind is None:
        rows += _hook_rows(load)
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


@app.command("show")
def show_plugin(name: NameArgument, kind: KindOption = None, json_: JsonFlag = False) -> None:
    """Show one plugin: what it is, where it comes from, and every setting with its default."""
    plugin = _find(name, kind)
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


@app.command("check")
def check_plugin(
    name: NameArgument,
    kind: KindOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting to check it with, such as method.updates=10."),
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Try what a plugin's contract promises, on a small scale. Exit code 5 if a promise is broken.

    It runs with the smoke protocol's settings, then its class's own `conformance_settings`, then --set.
    """
    from icrl_registry.testing.conformance import run_checks

    plugin = _find(name, kind)
    results = run_checks(plugin, _check_settings(plugin, set_ or []), report=_ignore if json_ else _print_result)
    failed = [result for result in results if not result.passed]
    if json_ and not failed:
        typer.echo(json.dumps({**_identity(plugin), "passed": True, "checks": [each._asdict() for each in results]}))
    if failed:
        count = f"{len(failed)} of {len(results)} checks"
        words = "; ".join(f"{each.name}: {each.message}" for each in failed)
        raise ContractViolation(
            f"{plugin.entry.kind} '{plugin.entry.name}' fails {count}: {words}",
            f"tell {plugin.entry.distribution}'s authors, or repair it: "
            f"icrl_registry.contracts.{plugin.entry.kind.capitalize()} says what is promised",
        )
    if not json_:
        typer.echo(f"\nall {len(results)} checks passed")


def _find(name: str, kind: str | None) -> Plugin:
    """The one plugin that `name` means among all kinds, or in `kind`."""
    from icrl_registry.discovery import KINDS, LIST_COMMAND, list_plugins, load, resolve

    if kind is not None:
        return load(kind, name)
    found = []
    for each in KINDS:
        try:
            found.append(resolve(each, name))
        except UsageError:
            continue
    if not found:
        raise unknown_name("plugin", name, {entry.name for entry in list_plugins()}, LIST_COMMAND)
    if len(found) > 1:
        kinds = " and ".join(entry.kind for entry in found)
        raise UsageError(f"'{name}' is the name of {kinds}", f"add --kind {found[0].kind}")
    return load(found[0].kind, found[0].name)


def _identity(plugin: Plugin) -> dict[str, str]:
    return {**asdict(plugin.entry), "content_hash": plugin.content_hash}


def _status(entry: PluginEntry, load: bool) -> dict[str, Any]:
    """One row of the list; with `load`, whether the plugin can be imported and is the only one of its name."""
    from icrl_registry.discovery import load_entry, resolve

    row: dict[str, Any] = asdict(entry)
    if not load:
        return row
    try:
        row["content_hash"] = load_entry(entry).content_hash
        resolve(entry.kind, entry.name)
    except BenchError as error:
        return {**row, "status": "broken", "error": error.message, "hint": error.hint}
    return {**row, "status": "ok"}


def _hook_rows(load: bool) -> list[dict[str, Any]]:
    """The hook modules, each registered by itself so that one's failure is its own."""
    from icrl_registry.discovery import import_entry
    from icrl_registry.hooks import GROUP, HookManager

    rows: list[dict[str, Any]] = []
    for entry in HookManager().entries:
        row: dict[str, Any] = asdict(entry)
        if load:
            try:
                HookManager(entries=[]).register(import_entry(entry, GROUP), entry.distribution, entry.name)
                row["status"] = "ok"
            except BenchError as error:
                row.update(status="broken", error=error.message, hint=error.hint)
        rows.append(row)
    return rows


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


def _check_settings(plugin: Plugin, assignments: Sequence[str]) -> dict[str, Any]:
    """The smoke protocol's settings for this component, the class's own, and those of the command line."""
    from icrl_registry.configuration import parse_assignments
    from icrl_registry.protocols.loading import load_protocol

    entry, given = plugin.entry, parse_assignments(assignments)
    for section in given:
        if section != entry.kind:
            raise UsageError(
                f"--set {section}.… doesn't belong to a {entry.kind}", f"write --set {entry.kind}.KEY=VALUE"
            )
    protocol = load_protocol("smoke")
    small: dict[str, Any] = {}
    if entry.kind in ("method", "backbone"):
        small = getattr(protocol, entry.kind).get(entry.name, {})
    elif entry.kind == "source":
        plans = [plan for plan in protocol.environments.values() if plan.source == entry.name]
        small = dict(plans[0].settings.get("source", {})) if plans else {}
        if "total_steps" in plugin.component.Config.model_fields:
            small["total_steps"] = CHECK_STEPS
    own = getattr(plugin.component, "conformance_settings", {})
    return {**small, **own, **given.get(entry.kind, {})}


def _print_result(result: CheckResult) -> None:
    mark = "passed" if result.passed else "FAILED"
    words = result.name.replace("_", " ")
    typer.echo(f"{mark}  {words}" + (f": {result.message}" if result.message else ""))


def _ignore(result: CheckResult) -> None:
    """With --json nothing but the document is printed."""


def _cell(row: dict[str, Any], column: str) -> str:
    if column == "distribution":
        return f"{row['distribution']} {row['distribution_version']}"
    return str(row[column])
