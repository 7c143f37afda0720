"""Groups of options that several commands take as one object.

A group is a dataclass whose fields are options. A command that takes one is decorated with `takes_groups`, so that Typer sees
the fields among its other options:

    @takes_groups
    def show(filters: Filters, limit: int = 30, place: LeaderboardPlace = LeaderboardPlace()) -> None: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_type_hints


@dataclass(frozen=True)
class OptionGroup:
    """Options that belong together; a subclass declares them as `Annotated` fields."""


def takes_groups(command: Callable[..., None]) -> Callable[..., None]:
    """The command as Typer is to see it: each group's options stand where the group does."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[OptionGroup]] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if isinstance(kind, type) and issubclass(kind, OptionGroup):
            groups[name] = kind
            parameters += _options(kind)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kind))

    def expanded(**given: Any) -> None:
        made = {
            name: group(**{each.name: given.pop(each.name) for each in fields(group)}) for name, group in groups.items()
        }
        command(**made, **given)

    expanded.__name__, expanded.__qualname__, expanded.__doc__ = command.__name__, command.__qualname__, command.__doc__
    expanded.__module__ = command.__module__
    expanded.__annotations__ = {each.name: each.annotation for each in parameters}
    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return expanded


def _options(group: type[OptionGroup]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if each.default is MISSING else each.default,
            annotation=hints[each.name],
        )
        for each in fields(group)
    ]
