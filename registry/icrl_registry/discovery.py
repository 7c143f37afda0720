"""Finds plugins by entry point, loads one when it is asked for, and says whose fault it is when that fails.

The names come from the metadata of the installed distributions, so listing imports nothing and a broken plugin hurts
only whoever asks for it. A component's identity in the results is its distribution, version and content hash
(`content.py`).
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, Literal, cast

from icrl_registry.configuration import ComponentConfig
from icrl_registry.errors import PluginError, UsageError, unknown_name
from icrl_registry.hashing.content import hash_component

Kind = Literal["environment", "source", "backbone", "method"]
KINDS: tuple[Kind, ...] = ("environment", "source", "backbone", "method")
LIST_COMMAND = "icrl-bench plugins list"

#: What the harness calls on a component of each kind; a class that derives from its contract inherits some of them.
CONTRACT_MEMBERS: dict[str, tuple[str, ...]] = {
    "environment": (
        "id",
        "task_parameter_names",
        "varies",
        "success",
        "spec",
        "num_tasks",
        "all_task_parameters",
        "sample_task_parameters",
        "sample_training_parameters",
        "why_outside",
        "task_distance",
        "blind_return",
        "make",
        "make_batch",
    ),
    "source": ("action_kinds", "is_recorded", "collect", "group_size", "total_steps", "greedy_policy"),
    "backbone": ("forward", "initial_state", "step"),
    "method": (
        "uses_backbone",
        "action_kinds",
        "training_data",
        "tracks",
        "adaptation",
        "train",
        "agent",
        "parameter_count",
    ),
}


@dataclass(frozen=True)
class PluginEntry:
    """What the metadata says about one component, before anything is imported."""

    kind: str
    name: str
    value: str  # "package.module:Class"
    distribution: str
    distribution_version: str


@dataclass(frozen=True)
class Plugin:
    """A component that was imported and found to have its contract's members."""

    entry: PluginEntry
    component: type[Any]
    content_hash: str  # sha256, 64 hexadecimal digits


def group_of(kind: str) -> str:
    """`environment` → `icrl_bench.environments`."""
    if kind not in KINDS:
        raise unknown_name("kind of plugin", kind, KINDS)
    return f"icrl_bench.{kind}s"


def list_plugins(kind: str | None = None) -> list[PluginEntry]:
    """All entries of one kind, or of all kinds in the order of `KINDS`; sorted by name, clashing names included."""
    kinds = KINDS if kind is None else (kind,)
    return [entry for each in kinds for entry in entries_of_group(group_of(each), each)]


def entries_of_group(group: str, kind: str) -> list[PluginEntry]:
    """The entries of any entry point group, sorted by name, then distribution; nothing is imported."""
    points = [point for point in _scan(tuple(sys.path))[0] if point.group == group]
    entries = [PluginEntry(kind, point.name, point.value, *_identity(point.dist)) for point in points]
    return sorted(set(entries), key=lambda entry: (entry.name, entry.distribution))


def unreadable_distributions() -> list[tuple[str, str]]:
    """(distribution, error) of each distribution whose entry points cannot be read; its plugins are not listed."""
    return list(_scan(tuple(sys.path))[1])


def resolve(kind: str, name: str) -> PluginEntry:
    """The entry that `name` means: that very name or, for a name without a version, the newest `name-vN`.

    Raises:
        UnknownNameError: nothing carries the name; the hint has the nearest ones.
        PluginError: two distributions carry it.
    """
    entries = list_plugins(kind)
    found = _match(entries, name)
    if not found:
        raise unknown_name(kind, name, _with_short_names(entries), LIST_COMMAND)
    return _only(found)


def load(kind: str, name: str) -> Plugin:
    """Imports the component that `name` means and checks that it has its contract's members.

    Raises:
        UnknownNameError: as `resolve`.
        PluginError: the import failed, in whatever way, or the class is not what the contract asks for.
    """
    return load_entry(resolve(kind, name))


def load_entry(entry: PluginEntry) -> Plugin:
    """As `load`, for one entry of `list_plugins` (which may be one of two with the same name)."""
    component = import_entry(entry, group_of(entry.kind))
    faults = _contract_faults(entry.kind, component)
    if faults:
        raise PluginError(
            f"{_whose(entry)} does not meet the {entry.kind} contract: {'; '.join(faults)}",
            f"derive from icrl_registry.contracts.{entry.kind.capitalize()}, which supplies the defaults; "
            + _how_to_fix(entry),
        )
    packages = frozenset(other.value.partition(".")[0].partition(":")[0] for other in list_plugins())
    module = entry.value.partition(":")[0].strip()
    return Plugin(entry, component, hash_component(component, module, packages, entry.distribution_version))


def import_entry(entry: PluginEntry, group: str) -> Any:
    """Imports what an entry point names; any failure, `SystemExit` included, becomes a `PluginError` naming its owner.

    Whatever the plugin prints while it is imported goes to standard error: standard output belongs to the command.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return EntryPoint(entry.name, entry.value, group).load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # panics of extension modules are no Exceptions
        detail = f"{type(error).__name__}: {error}".rstrip(": ")
        raise PluginError(f"{_whose(entry)} cannot be imported: {detail}", _how_to_fix(entry)) from error


def resolve_method(name: str) -> tuple[PluginEntry, PluginEntry | None]:
    """`ad-mamba` → the entries of method `ad` and backbone `mamba`; `task-blind` → that method and None.

    A method of exactly this name comes first; otherwise the name is split where both parts are registered.

    Raises:
        UnknownNameError: no such method or combination; the hint has the nearest runnable ones.
        UsageError: a backbone is missing, or given to a method that has none, or the name can be split in two ways.
        PluginError: a plugin that took part is broken or carried by two distributions.
    """
    methods, backbones = list_plugins("method"), list_plugins("backbone")
    exact = _match(methods, name)
    if exact:
        method = _only(exact)
        if _uses_backbone(method):
            names = ", ".join(f"{name}-{backbone.name}" for backbone in backbones)
            hint = f"type one of: {names}" if names else "install a distribution that has a backbone"
            raise UsageError(f"method '{name}' needs a backbone", hint)
        return method, None
    splits = _splits(name, methods, backbones)
    if not splits:
        raise unknown_name("method", name, runnable_methods(), LIST_COMMAND)
    usable = [(method, backbone) for method, backbone in splits if _uses_backbone(method)]
    if not usable:
        method = splits[0][0]
        message = f"method '{method.name}' uses no backbone, but '{name}' gives it one"
        raise UsageError(message, f"type --method {method.name}")
    if len(usable) > 1:
        readings = " or ".join(f"{method.name} with {backbone.name}" for method, backbone in usable)
        raise UsageError(f"'{name}' can mean {readings}", "rename one of the plugins, or uninstall its distribution")
    return usable[0]


def runnable_methods() -> list[str]:
    """Every name that `resolve_method` accepts. Imports all methods; broken ones are left out."""
    backbones = sorted({entry.name for entry in list_plugins("backbone")})
    names: set[str] = set()
    for method in list_plugins("method"):
        try:
            combined = _uses_backbone(method)
        except PluginError:
            continue
        names.update(f"{method.name}-{backbone}" for backbone in backbones) if combined else names.add(method.name)
    return sorted(names)


def _uses_backbone(method: PluginEntry) -> bool:
    return bool(load_entry(method).component.uses_backbone)


def _splits(
    name: str, methods: list[PluginEntry], backbones: list[PluginEntry]
) -> list[tuple[PluginEntry, PluginEntry]]:
    found = []
    for dash in re.finditer("-", name):
        left, right = _match(methods, name[: dash.start()]), _match(backbones, name[dash.end() :])
        if left and right:
            found.append((_only(left), _only(right)))
    return found


def _match(entries: list[PluginEntry], name: str) -> list[PluginEntry]:
    """The entries that carry `name` or, if none does, the newest version of it."""
    exact = [entry for entry in entries if entry.name == name]
    if exact:
        return exact
    versions = {entry: _version(entry.name, name) for entry in entries}
    newest = max(versions.values(), default=-1)
    return [entry for entry, version in versions.items() if version == newest and newest >= 0]


def _version(name: str, family: str) -> int:
    """`pusher-goal-v3` of the family `pusher-goal` → 3; any other name → -1."""
    match = re.fullmatch(re.escape(family) + r"-v(\d+)", name)
    return int(match[1]) if match else -1


def _with_short_names(entries: Iterable[PluginEntry]) -> set[str]:
    names = {entry.name for entry in entries}
    return names | {re.sub(r"-v\d+$", "", name) for name in names}


def _only(entries: list[PluginEntry]) -> PluginEntry:
    if len(entries) > 1:
        owners = [f"{entry.distribution} {entry.distribution_version}" for entry in entries]
        first = entries[0]
        raise PluginError(
            f"{first.kind} '{first.name}' is carried by {len(entries)} distributions: {' and '.join(owners)}",
            f"uninstall one of them, for example `pip uninstall {entries[-1].distribution}`",
        )
    return entries[0]


def _contract_faults(kind: str, component: Any) -> list[str]:
    """Everything that keeps `component` from being a plugin of this kind, in words."""
    if not isinstance(component, type):
        return [f"it is a {type(component).__name__}, not a class"]
    faults = []
    config = getattr(component, "Config", None)
    if not (isinstance(config, type) and issubclass(config, ComponentConfig)):
        faults.append("the class attribute 'Config' must be a subclass of icrl_registry.configuration.ComponentConfig")
    abstract = cast(frozenset[str], getattr(component, "__abstractmethods__", frozenset()))
    missing = [name for name in CONTRACT_MEMBERS[kind] if name in abstract or not hasattr(component, name)]
    if missing:
        faults.append(f"missing {', '.join(repr(name) for name in missing)}")
    if "spec" in missing:
        faults.append("'spec' is read from the class: write it as a class attribute or a property, not in __init__")
    return faults


def _whose(entry: PluginEntry) -> str:
    return f"{entry.kind} '{entry.name}' ({entry.value}, from {entry.distribution} {entry.distribution_version})"


def _how_to_fix(entry: PluginEntry) -> str:
    name = entry.distribution
    return f"repair it with `pip install -U {name}` or remove it with `pip uninstall {name}`"


def _identity(distribution: Distribution | None) -> tuple[str, str]:
    """Name and version; damaged metadata still yields an entry, so that the rest can be listed."""
    try:
        if distribution is not None:
            return str(distribution.metadata["Name"] or "unknown"), str(distribution.version)
    except (OSError, TypeError, KeyError, ValueError):
        return "unknown", "unknown"
    return "unknown", "unknown"


@functools.lru_cache(maxsize=4)
def _scan(search_path: tuple[str, ...]) -> tuple[tuple[EntryPoint, ...], tuple[tuple[str, str], ...]]:
    """All entry points of our groups on this `sys.path`, and the distributions whose entry points cannot be parsed.

    `importlib.metadata.entry_points` would do, if one malformed file anywhere did not make it fail as a whole.
    """
    points: list[EntryPoint] = []
    failures: list[tuple[str, str]] = []
    seen: set[str] = set()
    for distribution in distributions():
        try:
            ours = [point for point in distribution.entry_points if point.group.startswith("icrl_bench.")]
        except Exception as error:
            failures.append((_identity(distribution)[0], f"{type(error).__name__}: {error}"))
            continue
        name = re.sub(r"[-_.]+", "-", _identity(distribution)[0]).lower() if ours else ""
        if name not in seen:  # else an earlier directory of sys.path shadows it
            points += ours
        if ours:
            seen.add(name)
    return tuple(points), tuple(failures)
