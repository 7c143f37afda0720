"""`icrl-bench plugins check`: tries what a plugin's contract promises, and says each failure once, with its remedy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.options import JsonFlag
from icrl_bench.cli.plugins.selection import KindOption, NameArgument, find
from icrl_registry.errors import EXIT_VERIFICATION, BenchError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from icrl_registry.contracts import Environment
    from icrl_registry.discovery import Plugin
    from icrl_registry.testing.conformance import CheckResult

#: Environment steps of a source that is checked: past the warm-up of those that have one, and four trainings in seconds.
CHECK_STEPS = 700


class ContractViolation(BenchError):
    """A plugin failed conformance checks."""

    kind = "conformance"
    exit_code = EXIT_VERIFICATION


def check_plugin(
    name: NameArgument,
    kind: KindOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting to check it with, such as method.updates=10."),
    ] = None,
    env: Annotated[
        str | None, typer.Option("--env", "-e", help="Try a source or method in this environment.  [default: a toy]")
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Try what a plugin's contract promises, on a small scale. Exit code 5 if a promise is broken.

    It runs with the smoke protocol's settings, then its class's own `conformance_settings`, then --set. METHOD-BACKBONE
    checks the method with that backbone. --env is for sources and methods that need a certain environment: only what can be
    seen from outside is checked there.
    """
    from icrl_bench.cli.plugins.other_kinds import OTHER_KINDS, check_other
    from icrl_registry.testing.conformance import run_checks

    said = Said(quiet=json_)
    if kind in OTHER_KINDS:
        identity, results = check_other(kind, name, said.report)
    else:
        plugin, backbone = _find(name, kind)
        settings = _check_settings(plugin, set_ or [])
        world = _environment(env, plugin.entry.kind)
        results = run_checks(plugin, settings, said.report, backbone, world)
        identity = {**asdict(plugin.entry), "content_hash": plugin.content_hash}
    failed = [result for result in results if not result.passed]
    if failed:
        raise ContractViolation(
            f"{identity['kind']} '{identity['name']}' fails {len(failed)} of {len(results)} checks: {said.summary()}",
            f"tell {identity['distribution']}'s authors, or repair it: {_CONTRACTS[str(identity['kind'])]} says what is "
            "promised",
        )
    if json_:
        typer.echo(json.dumps({**identity, "passed": True, "checks": [each._asdict() for each in results]}))
    else:
        typer.echo(f"\nall {len(results)} checks passed")


_CONTRACTS = {
    **{
        kind: f"icrl_registry.contracts.{kind.capitalize()}" for kind in ("environment", "source", "backbone", "method")
    },
    "benchmark": "icrl_registry.benchmarks.Benchmark",
    "protocol": "docs/protocols.md",
    "hooks": "icrl_registry.hooks.HookSpecifications",
}


class Said:
    """Prints results as they come; what failed in the same way before is not said again."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.failures: dict[str, list[str]] = {}  # message → the checks that ended with it

    def report(self, result: CheckResult) -> None:
        """One check's line."""
        words = result.name.replace("_", " ")
        if result.passed:
            self._print(f"passed  {words}" + (f": {result.message}" if result.message else ""))
            return
        before = self.failures.setdefault(result.message, [])
        why = f"for the same reason as: {before[0].replace('_', ' ')}" if before else result.message
        before.append(result.name)
        self._print(f"FAILED  {words}: {why}")

    def summary(self) -> str:
        """Each failure once, with the checks that it ended."""
        return "; ".join(f"{', '.join(names)}: {message}" for message, names in self.failures.items())

    def _print(self, line: str) -> None:
        if not self.quiet:
            typer.echo(line)


def _find(name: str, kind: str | None) -> tuple[Plugin, Plugin | None]:
    """The plugin that a name means, and the backbone that it is checked with, where METHOD-BACKBONE names one."""
    from icrl_registry.discovery import load, resolve_method

    try:
        return find(name, kind), None
    except UnknownNameError:
        if kind not in (None, "method"):
            raise
        try:
            method, backbone = resolve_method(name)
        except UsageError:
            backbone = None
        if backbone is None:
            raise
        return load("method", method.name), load("backbone", backbone.name)


def _environment(name: str | None, kind: str) -> Environment | None:
    from icrl_registry.discovery import load

    if name is None:
        return None
    if kind not in ("source", "method"):
        raise UsageError(f"a {kind} is not tried in an environment", "drop --env")
    component = load("environment", name).component
    made: Environment = component(component.Config())
    return made


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
