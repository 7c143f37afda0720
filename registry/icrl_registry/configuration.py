"""Typed, frozen configuration of components, and the way from a command line to it.

Every hyper-parameter of an environment, source, backbone or method is a field of a `ComponentConfig` subclass with one
line of help. Values are layered: the field's default, then the protocol, then `--config FILE`, then `--set KEY=VALUE`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from icrl_registry.errors import UsageError, unknown_name

#: The first part of a dotted key: which component (or stage) a setting belongs to.
SECTIONS = ("environment", "source", "backbone", "method", "collect", "train", "adapt")


class ComponentConfig(BaseModel):
    """Base of every component's hyper-parameters: frozen, typed, unknown keys refused, a description on each field."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


Config = TypeVar("Config", bound=ComponentConfig)


def build_config(config_type: type[Config], settings: Mapping[str, Any], section: str) -> Config:
    """Builds `config_type` from `settings`; a refused key or value is named as the user would type it.

    TOML has no null, so the string "none" stands for Python's `None`.

    Raises:
        UnknownNameError: a key that the config doesn't have (with the nearest ones).
        UsageError: a value of the wrong type or range.
    """
    fields = config_type.model_fields
    for key in settings:
        if key not in fields:
            raise unknown_name("setting", f"{section}.{key}", [f"{section}.{name}" for name in fields])
    try:
        return config_type.model_validate({key: None if value == "none" else value for key, value in settings.items()})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        field = fields.get(str(first["loc"][0])) if first["loc"] else None
        about = f" ({field.description})" if field is not None and field.description else ""
        raise UsageError(
            f"{section}.{key} = {first.get('input')!r}: {first['msg']}" if key else f"{section}: {first['msg']}",
            f"set it with --set {section}.{key}=VALUE{about}" if key else "check the combination of values",
        ) from error


def parse_assignments(assignments: Sequence[str], sections: Sequence[str] = SECTIONS) -> dict[str, dict[str, Any]]:
    """`["method.context_length=200"]` → `{"method": {"context_length": 200}}`.

    A value is read as TOML (numbers, booleans, arrays, quoted strings) and, failing that, as a plain string.
    """
    settings: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot and name):
            raise UsageError(
                f"cannot read --set {assignment!r}",
                "write --set SECTION.KEY=VALUE, for example --set method.context_length=200",
            )
        if section not in sections:
            raise unknown_name("section", section, sections)
        settings.setdefault(section, {})[name] = _parse_value(text.strip())
    return settings


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def read_config_file(path: Path) -> dict[str, dict[str, Any]]:
    """Reads a TOML file with the tables `[method]`, `[backbone]`, … into the form of `parse_assignments`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"cannot read the configuration {path}: {error.strerror}", "give --config an existing TOML file"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is no TOMLDecodeError
        raise UsageError(
            f"{path} is not TOML: {error}", "write tables such as [method] with KEY = VALUE lines"
        ) from error
    for section, table in document.items():
        if section not in SECTIONS:
            raise unknown_name("section", section, SECTIONS)
        if not isinstance(table, dict):
            raise UsageError(f"{path}: '{section}' must be a table", f"write [{section}] and its keys below it")
    return document


def merge(*layers: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Layers of `{section: {key: value}}`, later ones over earlier ones."""
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, table in layer.items():
            merged.setdefault(section, {}).update(table)
    return merged
