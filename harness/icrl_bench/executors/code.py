"""Whether a node has the driver's code: plugins by version and content hash, and the packages that can change a number.

A grid whose rows come from different code would compare what is not alike, and artefacts are addressed by the driver's hashes,
so a node that differs is refused before it does any work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from icrl_bench.machine.provenance import package_versions
from icrl_bench.planning import Plan
from icrl_registry.discovery import load
from icrl_registry.errors import BenchError, PluginError


@dataclass(frozen=True)
class PluginCode:
    """One plugin as a machine has it."""

    kind: str
    name: str
    distribution: str
    version: str
    content_hash: str


@dataclass(frozen=True)
class Code:
    """What every node must have."""

    plugins: tuple[PluginCode, ...]
    packages: tuple[tuple[str, str], ...]  # name and version


def code_of(plans: Iterable[Plan]) -> Code:
    """The code behind plans, as it is here."""
    plugins = {(plugin.entry.kind, plugin.entry.name): plugin for plan in plans for plugin in plan.plugins}
    found = tuple(_code(kind, name) for kind, name in sorted(plugins))
    return Code(found, tuple(package_versions().items()))


def check_code(expected: Code, node: str) -> None:
    """Holds this machine's code to the driver's.

    Raises:
        PluginError: something differs; the message names node, distribution and both hashes or versions.
    """
    here = package_versions()
    for name, version in expected.packages:
        if here.get(name, version) != version:  # one that is not installed here computes nothing here
            raise PluginError(
                f"{node} has {name} {here[name]}, the driver {version}", f"pip install {name}=={version} on every node"
            )
    for plugin in expected.plugins:
        what = f"{plugin.kind} {plugin.name}"
        same = f"install {plugin.distribution} {plugin.version} from the same files on every node"
        try:
            found = _code(plugin.kind, plugin.name)
        except BenchError as error:
            raise PluginError(f"{node} lacks {what} of {plugin.distribution}: {error.message}", same) from error
        if found != plugin:
            raise PluginError(
                f"{node} has other code of {what}: {_words(found)}; the driver has {_words(plugin)}", same
            )


def _code(kind: str, name: str) -> PluginCode:
    plugin = load(kind, name)
    entry = plugin.entry
    return PluginCode(entry.kind, entry.name, entry.distribution, entry.distribution_version, plugin.content_hash)


def _words(code: PluginCode) -> str:
    return f"{code.distribution} {code.version} with content {code.content_hash[:16]}"
