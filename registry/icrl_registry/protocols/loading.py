"""Finds protocol files and reads them.

A protocol is a TOML file beside this module, one that a plugin ships (entry points of the group `icrl_bench.protocols`), or
any path. It may extend another one: `extends = "laptop-v2"` takes that protocol's tables, key by key, below its own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from icrl_registry.discovery import PluginEntry, entries_of_group
from icrl_registry.errors import BenchError, PluginError, UsageError, unknown_name
from icrl_registry.protocols.model import Protocol

FOLDER = Path(__file__).parent
DEFAULT_PROTOCOL = "laptop"
GROUP = "icrl_bench.protocols"
#: How many protocols may extend one another.
LONGEST_CHAIN = 8
LARGEST_FILE = 16 * 2**20  # bytes


def list_protocols() -> list[str]:
    """Ids of the protocols that come with the package, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def plugin_protocols() -> dict[str, PluginEntry]:
    """Protocols that plugins ship, by id: the entry point `mine-v1 = "my_package"` means `my_package/mine-v1.toml`."""
    return {entry.name: entry for entry in entries_of_group(GROUP, "protocol")}


def load_protocol(name: str = DEFAULT_PROTOCOL) -> Protocol:
    """Loads a protocol by name (`laptop`: the newest version), id (`laptop-v1`) or path.

    Raises:
        UnknownNameError: no such protocol. UsageError: a file that isn't a protocol, or that takes another one's id.
        PluginError: a plugin does not have the file that it names.
    """
    text, where = _find(name)
    protocol = parse_protocol(text, where)
    known = protocol.id in list_protocols() and parse_protocol(_built_in(protocol.id), protocol.id)
    if known and known.sha256 != protocol.sha256:
        raise UsageError(
            f"{where} calls itself {protocol.id}, but differs from the protocol of that name",
            "give it an id of its own, such as mine-v1",
        )
    return protocol


def protocol_for(environment: str, name: str | None = None) -> Protocol:
    """The protocol called `name`; without one the default for an environment, which may be given without its version.

    That is the newest laptop protocol, unless another one names the environment and says `default = true`, as a plugin's own
    may for its own environments, and laptop doesn't name it.

    Raises:
        UnknownNameError, UsageError, PluginError: as `load_protocol`.
    """
    if name is not None:
        return load_protocol(name)
    usual = load_protocol(DEFAULT_PROTOCOL)
    if usual.names(environment):
        return usual
    for other in sorted({*list_protocols(), *plugin_protocols()}, reverse=True):  # newer versions first
        with suppress(BenchError):  # a plugin's broken file hurts nobody else
            found = load_protocol(other)
            if found.default and found.names(environment):
                return found
    return usual


def parse_protocol(text: str, name: str) -> Protocol:
    """The protocol that a TOML text describes, with what it extends; `name` stands for the text in errors.

    Raises:
        UsageError: it isn't TOML, or no protocol, or extends one that doesn't exist or that extends it.
    """
    try:
        protocol = Protocol.model_validate(_extended(tomllib.loads(text), name))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        hint = "compare with a protocol that comes with the package"
        raise UsageError(f"{name}: {where}: {first['msg']}", hint) from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is no TOMLDecodeError
        raise UsageError(f"{name} is not TOML: {error}", "repair the file, or name another protocol") from error
    protocol._text = text
    return protocol


def _extended(tables: dict[str, Any], name: str, depth: int = 0) -> dict[str, Any]:
    """The tables with those of the protocol that they extend below them."""
    base = tables.pop("extends", None)
    if base is None:
        return tables
    if not isinstance(base, str) or depth == LONGEST_CHAIN:
        problem = "extends another that extends it" if isinstance(base, str) else f"extends {base!r}"
        raise UsageError(f"{name} {problem}", 'write extends = "laptop-v2", or another protocol\'s id')
    if "/" in base or base.endswith(".toml"):
        _require_a_file(Path(base))
    text, where = _find(base)
    below = _extended(tomllib.loads(text), where, depth + 1)
    for environment in _table(tables, "environments"):
        plan, base_plan = (_table(each, "environments", environment) for each in (tables, below))
        if isinstance(plan.get("split"), dict) and "sha256" not in plan["split"]:
            _table(base_plan, "split").pop("sha256", None)  # of other tasks
        if plan.get("source") is not None and base_plan.get("source") not in (None, plan["source"]):
            _table(base_plan, "settings").pop("source", None)  # they are another source's
    return _over(below, tables)


def _table(tables: dict[str, Any], *path: str) -> dict[str, Any]:
    """The table at a path of keys; an empty one where there is none, or something else."""
    for key in path:
        below = tables.get(key)
        tables = below if isinstance(below, dict) else {}
    return tables


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merged key by key; whatever is no table is replaced."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _over(merged[key], value) if both else value
    return merged


def _find(name: str) -> tuple[str, str]:
    """The text of a protocol, and what to call it: a path, or a name among those of the package and of plugins."""
    if name.endswith(".toml") or "/" in name or _is_file(name):
        return _read(Path(name)), name
    shipped = plugin_protocols()
    found = _newest(name, [*list_protocols(), *shipped])
    return (_of_plugin(shipped[found]) if found in shipped else _built_in(found)), found


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # longer than the name of any file
        return False


def _newest(name: str, known: list[str]) -> str:
    """`laptop` → the id of the newest `laptop-vN`; an id → itself."""
    if name in known:
        return name
    versions = sorted(
        (int(match[1]), known_id)
        for known_id in known
        if (match := re.fullmatch(rf"{re.escape(name)}-v(\d+)", known_id))
    )
    if not versions:
        raise unknown_name("protocol", name, [*known, *{known_id.rsplit("-v", 1)[0] for known_id in known}])
    return versions[-1][1]


def _built_in(protocol_id: str) -> str:
    return (FOLDER / f"{protocol_id}.toml").read_text(encoding="utf-8")


def _of_plugin(entry: PluginEntry) -> str:
    try:
        return (resources.files(entry.value) / f"{entry.name}.toml").read_text(encoding="utf-8")
    except (ImportError, OSError, UnicodeDecodeError, TypeError) as error:
        raise PluginError(
            f"protocol {entry.name} of {entry.distribution} cannot be read: {error}",
            f"the distribution must hold {entry.name}.toml in the package {entry.value}",
        ) from error


def _require_a_file(path: Path) -> None:
    """What a file names is not the user's word: a device or a pipe would be read without end."""
    if not _is_file(str(path)):
        raise UsageError(f"no protocol file {path}", f"known protocols: {', '.join(list_protocols())}")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            content = handle.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise UsageError(f"{path} is larger than {LARGEST_FILE:,} bytes", "name another protocol")
        return content.decode("utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"no protocol file {path}", f"known protocols: {', '.join(list_protocols())}") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "name another protocol") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}", "repair the file, or name another protocol") from error
