"""What the shell offers after a TAB: environments, methods, protocols, trackers. `--install-completion` sets it up.

It runs at every TAB, so it reads names from the metadata of the installed distributions and imports no plugin; which methods
take a backbone is only known by importing them, so that is done once and kept until what is installed changes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

VARIABLE = "_ICRL_BENCH_COMPLETE"  # set by the shell while it asks


def environments(incomplete: str) -> list[str]:
    """Names of environments, with their versions and without."""
    return _beginning(incomplete, _environment_names)


def methods(incomplete: str) -> list[str]:
    """Names that `--method` takes; after a comma, those of the next one."""
    return _beginning(incomplete, _method_names)


def protocols(incomplete: str) -> list[str]:
    """Ids of protocols, with their versions and without."""
    return _beginning(incomplete, _protocol_names)


def trackers(incomplete: str) -> list[str]:
    """Names of trackers."""

    def names() -> list[str]:
        from icrl_registry.onlookers.trackers import tracker_names

        return tracker_names()

    return _beginning(incomplete, names)


def _beginning(incomplete: str, names: Callable[[], list[str]]) -> list[str]:
    """The names that go on from what was typed after the last comma."""
    with suppress(Exception):
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names() if name.startswith(last)]
    return []


def _environment_names() -> list[str]:
    from icrl_registry.discovery import list_plugins

    names = {entry.name for entry in list_plugins("environment")}
    return sorted(names | {re.sub(r"-v\d+$", "", name) for name in names})


def _protocol_names() -> list[str]:
    from icrl_registry.protocols.loading import list_protocols, plugin_protocols

    names = {*list_protocols(), *plugin_protocols()}
    return sorted(names | {re.sub(r"-v\d+$", "", name) for name in names})


def _method_names() -> list[str]:
    """The runnable methods, as they were found when what is installed last changed."""
    from icrl_registry.discovery import list_plugins, runnable_methods

    installed = [(each.value, each.name, each.distribution_version) for each in list_plugins()]
    key = hashlib.sha256(repr(installed).encode()).hexdigest()
    path = cache_file()
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return [str(name) for name in kept["methods"]]
    names = runnable_methods()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"key": key, "methods": names}), encoding="utf-8")
    return names


def cache_file() -> Path:
    """Where the runnable methods are kept."""
    from platformdirs import user_cache_path

    return Path(user_cache_path("icrl-bench")) / "methods.json"
