"""Checks of the plugins that are no components: benchmarks, protocols and modules of hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from icrl_registry.discovery import PluginEntry, entries_of_group, import_entry
from icrl_registry.errors import BenchError, PluginError, unknown_name
from icrl_registry.testing.conformance import CheckResult

OTHER_KINDS = {
    "benchmark": "icrl_bench.benchmarks",
    "protocol": "icrl_bench.protocols",
    "hooks": "icrl_bench.hooks",
}
EntryCheck = Callable[[PluginEntry], str | None]


def check_other(
    kind: str, name: str, report: Callable[[CheckResult], None]
) -> tuple[dict[str, Any], list[CheckResult]]:
    """Who it is, and what each check found.

    Raises:
        UnknownNameError: no distribution has it. PluginError: two have.
    """
    entries = entries_of_group(OTHER_KINDS[kind], kind)
    found = [entry for entry in entries if entry.name in (name, f"{name}-v1")]
    if not found:
        raise unknown_name(kind, name, {entry.name for entry in entries}, "icrl-bench plugins list")
    if len(found) > 1:
        owners = " and ".join(entry.distribution for entry in found)
        raise PluginError(f"{kind} '{name}' is carried by {owners}", "uninstall one of them")
    results = []
    for check in _CHECKS[kind]:
        results.append(_run(check, found[0]))
        report(results[-1])
    return asdict(found[0]), results


def _run(check: EntryCheck, entry: PluginEntry) -> CheckResult:
    try:
        return CheckResult(check.__name__, True, check(entry) or "")
    except BenchError as error:
        return CheckResult(check.__name__, False, f"{error.message} ({error.hint})" if error.hint else error.message)
    except (Exception, SystemExit) as error:
        return CheckResult(check.__name__, False, f"{type(error).__name__}: {error}")


def hooks_are_accepted(entry: PluginEntry) -> str | None:
    """Every function `icrl_…` of the module is a hook, marked as one, with arguments that the hook has."""
    from icrl_registry.hooks import HOOK_NAMES, HookManager

    module = import_entry(entry, OTHER_KINDS["hooks"])
    HookManager(entries=[]).register(module, entry.distribution, entry.name)
    found = [name for name in HOOK_NAMES if hasattr(module, name)]
    if not found:
        raise PluginError("it has no hook", f"write one of {', '.join(HOOK_NAMES)}, marked with @hookimpl")
    return ", ".join(found)


def can_be_read(entry: PluginEntry) -> str | None:
    """The file is there, is a protocol, and has the id that the entry point names."""
    from icrl_registry.protocols.loading import load_protocol

    protocol = load_protocol(entry.name)
    if protocol.id != entry.name:
        raise PluginError(f"{entry.name}.toml calls itself {protocol.id}", f'write id = "{entry.name}"')
    return protocol.summary


def fits_its_components(entry: PluginEntry) -> str | None:
    """Every setting is one of its component, and the tasks have their hash."""
    from icrl_bench.cli.protocols import fault_in
    from icrl_registry.protocols.loading import load_protocol

    protocol = load_protocol(entry.name)
    faults = {environment: fault_in(protocol, environment) for environment in protocol.environments}
    words = [f"{environment}: {fault}" for environment, fault in faults.items() if fault]
    if words:
        raise PluginError("; ".join(words), f"`icrl-bench protocols show {entry.name}` prints what it says")
    return f"{len(faults)} environments"


def can_be_built(entry: PluginEntry) -> str | None:
    """The class has what a benchmark has, a docstring, and settings that it accepts, the quick ones included."""
    from icrl_bench.benchmarking.catalogue import make_benchmark

    made = make_benchmark(entry.name, quick=True, settings={})
    if not (type(made).__doc__ or "").strip():
        raise PluginError("the class has no docstring", 'write one line: """What it measures, beside what."""')
    silent = [name for name, each in type(made).Config.model_fields.items() if not (each.description or "").strip()]
    if silent:
        raise PluginError(f"without a description: {', '.join(silent)}", "write Field(default, description='one line')")
    return None


_CHECKS: dict[str, Iterable[EntryCheck]] = {
    "benchmark": (can_be_built,),
    "protocol": (can_be_read, fits_its_components),
    "hooks": (hooks_are_accepted,),
}
