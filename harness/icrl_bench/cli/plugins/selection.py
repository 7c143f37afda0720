"""Which plugin a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from icrl_registry.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from icrl_registry.discovery import Plugin

KindOption = Annotated[
    str | None, typer.Option("--kind", "-k", help="environment, source, backbone or method.  [default: any]")
]
NameArgument = Annotated[str, typer.Argument(help="A name that `plugins list` shows, such as pusher-goal or mamba.")]


def find(name: str, kind: str | None) -> Plugin:
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
