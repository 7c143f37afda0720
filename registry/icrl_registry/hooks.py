"""Hooks for what cuts across components: following a run, extra report sections, claims, extra commands.

A plugin module implements any of the functions of `HookSpecifications`, marks each with `@hookimpl` and is found by an
entry point of the group `icrl_bench.hooks`:

    from icrl_registry.hooks import hookimpl

    @hookimpl
    def icrl_result(record):
        print("finished", record["run_id"])

A hook may take fewer arguments than its specification has. Names that begin with `icrl_` are reserved: one that no
specification has is refused when the module is registered, with the nearest that exists. A hook that fails is reported
as a warning with its distribution's name and never ends a run.
"""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pluggy

from icrl_registry.discovery import PluginEntry, entries_of_group, import_entry
from icrl_registry.errors import BenchError, PluginError, unknown_name

PROJECT = "icrl_bench"
GROUP = "icrl_bench.hooks"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True)
class ReportSection:
    """A section that a plugin adds to the report."""

    title: str  # plain text
    body: str  # Markdown; HTML in it is shown as text


class NamedCommand(NamedTuple):
    """A command that a plugin adds to `icrl-bench`."""

    name: str  # what the user types
    command: Any  # a `typer.Typer`, or a function whose parameters become options


class HookFailure(NamedTuple):
    """A hook that raised, or a module that could not be registered."""

    distribution: str
    hook: str  # the hook's name, or "register"
    error: str


class HookSpecifications:
    """The hooks that exist. The functions of a plugin module take the same arguments without `self`."""

    @hookspec
    def icrl_progress(self, event: Mapping[str, Any]) -> None:
        """Called as a run advances, at every report of every stage: return quickly.

        Every event has `event`, `run_id`, `method`, `env`, `protocol`, `track`, `seed` (None where seeds share the stage; the
        run id is then the first one's that waits for it), `stage` (`collect`, `floors`, `train`, `adapt`, `certify`) and
        `name` (`train seed 0`). By `event["event"]` it has further:

        - `stage_started`: `total` and `unit`, such as 20000 and "env steps";
        - `stage_progress`: `done`, `total`, `unit` and `metrics`, such as {"loss": 0.31};
        - `stage_finished`: `seconds`.

        A module that does not want every `stage_progress` sets the variable `icrl_progress_every` to the least number of
        seconds between two of one stage; the last one, with `done` equal to `total`, comes in any case.
        """

    @hookspec
    def icrl_result(self, record: Mapping[str, Any]) -> None:
        """Called once a run is recorded, with what `run --json` prints for it (`run_id`, `method`, `returns`, …), and its
        whole configuration as `config`."""

    @hookspec
    def icrl_report_sections(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[tuple[str, str]]:  # type: ignore[empty-body]
        """Sections (title, Markdown) to append to the report; `rows` are its runs as `leaderboard show --json` has."""

    @hookspec
    def icrl_claims(self) -> Sequence[Any]:  # type: ignore[empty-body]
        """Claims that `icrl-bench claims` judges beside the seed paper's: `icrl_leaderboards.analysis.claims.Claim`."""

    @hookspec
    def icrl_commands(self) -> Sequence[tuple[str, Any]]:  # type: ignore[empty-body]
        """Commands as (name, a `typer.Typer` or a function whose parameters become options, as Typer reads them)."""


HOOK_NAMES = tuple(sorted(name for name in vars(HookSpecifications) if name.startswith("icrl_")))


class HookManager:
    """Finds, validates and calls hooks. Modules are imported at the first call, each isolated from the others.

    `failures` lists, in order and each once, what went wrong; it was also issued as a `UserWarning` when it happened.
    """

    def __init__(self, entries: Iterable[PluginEntry] | None = None) -> None:
        """`entries` are the hook modules; by default those that installed distributions declare."""
        self.failures: list[HookFailure] = []
        self._entries = entries_of_group(GROUP, "hooks") if entries is None else list(entries)
        self._pending = True
        self._owners: dict[str, str] = {}  # name in the plugin manager -> distribution
        self._told: dict[tuple[Any, ...], float] = {}  # (module, run, stage) -> when it last heard of its progress
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(HookSpecifications)

    @property
    def entries(self) -> tuple[PluginEntry, ...]:
        """The hook modules that the metadata names; nothing is imported."""
        return tuple(self._entries)

    def register(self, module: Any, distribution: str, name: str | None = None) -> None:
        """Adds one hook module (or object).

        Raises:
            UnknownNameError: it has a function `icrl_…` that no specification has.
            PluginError: a hook takes an argument that its specification doesn't have, or lacks the `@hookimpl` mark.
        """
        found = [attribute for attribute in dir(module) if attribute.startswith("icrl_")]
        found = [attribute for attribute in found if inspect.isroutine(getattr(module, attribute, None))]
        for attribute in found:
            if attribute not in HOOK_NAMES:
                raise unknown_name(f"hook of {distribution}", attribute, HOOK_NAMES)
            if self._manager.parse_hookimpl_opts(module, attribute) is None:
                hint = f"write @hookimpl (from icrl_registry.hooks) above def {attribute}"
                raise PluginError(f"{distribution}: {attribute} is not marked as a hook", hint)
        name = name or f"{distribution}:{getattr(module, '__name__', type(module).__name__)}"
        if name in self._owners:
            raise PluginError(f"{name} is registered already", "register each hook module once")
        try:
            self._manager.register(module, name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.has_plugin(name):  # found out after it was added: no hook of it may stay
                self._manager.unregister(name=name)
            hint = "compare the arguments with icrl_registry.hooks.HookSpecifications"
            raise PluginError(f"{distribution}: {' '.join(str(error).split())}", hint) from error
        self._owners[name] = distribution

    def progress(self, event: Mapping[str, Any]) -> None:
        """Tells every plugin how far a run is, those that asked for fewer reports now and then."""
        self._register_pending()
        if self._manager.hook.icrl_progress.get_hookimpls():
            self._call("icrl_progress", wanted=lambda module: self._is_due(module, event), event=event)

    def result(self, record: Mapping[str, Any]) -> None:
        """Tells every plugin that a run is recorded."""
        self._call("icrl_result", record=record)

    def report_sections(self, rows: Sequence[Mapping[str, Any]]) -> list[ReportSection]:
        """The sections of all plugins, in the order of their distributions' names."""
        return [
            section
            for owner, answer in self._call("icrl_report_sections", rows=rows)
            for section in self._items(owner, "icrl_report_sections", answer, _as_section)
        ]

    def claims(self) -> list[Any]:
        """The claims of all plugins, in the order of their distributions' names."""
        return [
            claim
            for owner, answer in self._call("icrl_claims")
            for claim in self._items(owner, "icrl_claims", answer, _as_claim)
        ]

    def commands(self) -> list[NamedCommand]:
        """The commands of all plugins; of two with one name the first stays and the other is a failure."""
        taken: dict[str, NamedCommand] = {}
        for owner, answer in self._call("icrl_commands"):
            for named in self._items(owner, "icrl_commands", answer, _as_command):
                if named.name in taken:
                    self._fail(owner, "icrl_commands", f"the command '{named.name}' exists already")
                else:
                    taken[named.name] = named
        return list(taken.values())

    def _register_pending(self) -> None:
        if not self._pending:
            return
        self._pending = False
        for entry in self._entries:
            try:
                name = f"{entry.distribution}:{entry.name}"
                self.register(import_entry(entry, GROUP), entry.distribution, name)
            except BenchError as error:
                self._fail(entry.distribution, "register", f"{error.message} ({error.hint})")

    def _is_due(self, module: Any, event: Mapping[str, Any]) -> bool:
        """Whether a module gets an event: all of them, unless it asked for fewer `stage_progress` of a stage."""
        every = float(getattr(module, "icrl_progress_every", 0.0))
        if every <= 0 or event.get("event") != "stage_progress" or event.get("done") == event.get("total"):
            return True
        now, key = time.monotonic(), (id(module), event.get("run_id"), event.get("name"))
        if now - self._told.get(key, -every) < every:
            return False
        self._told[key] = now
        return True

    def _call(
        self, hook: str, wanted: Callable[[Any], bool] = lambda module: True, **arguments: Any
    ) -> list[tuple[str, Any]]:
        """(distribution, answer) of every plugin that has `hook` and is `wanted`; a plugin that fails is left out.

        pluggy calls all implementations of a hook in one go and stops at the first that raises, so each is called here
        by itself.
        """
        self._register_pending()
        answers = []
        caller = getattr(self._manager.hook, hook)
        for implementation in sorted(caller.get_hookimpls(), key=lambda each: str(each.plugin_name)):
            owner = self._owners[implementation.plugin_name]
            accepted = {name: arguments[name] for name in implementation.argnames}
            try:
                if not wanted(implementation.plugin):
                    continue
                answers.append((owner, implementation.function(**accepted)))
            except (Exception, SystemExit) as error:
                self._fail(owner, hook, f"{type(error).__name__}: {error}")
        return answers

    def _items(self, owner: str, hook: str, answer: Any, convert: Any) -> list[Any]:
        try:
            return [convert(item) for item in answer or ()]
        except (TypeError, ValueError) as error:
            self._fail(owner, hook, f"{error}")
            return []

    def _fail(self, distribution: str, hook: str, error: str) -> None:
        failure = HookFailure(distribution, hook, error)
        if failure not in self.failures:  # a hook that fails at every event is reported once
            self.failures.append(failure)
            warnings.warn(f"hook {hook} of {distribution} failed: {error}", stacklevel=3)


def _as_section(item: Any) -> ReportSection:
    title, body = item
    if not (isinstance(title, str) and isinstance(body, str)):
        raise TypeError(f"a section is (title, Markdown), two strings, not {item!r}")
    return ReportSection(title, body)


def _as_claim(item: Any) -> Any:
    if not callable(getattr(item, "judge", None)) or not isinstance(getattr(item, "id", None), str):
        raise TypeError(f"a claim has an id and a method judge, not {item!r}")
    return item


def _as_command(item: Any) -> NamedCommand:
    name, command = item
    if not (isinstance(name, str) and name and callable(command)):
        raise TypeError(f"a command is (name, typer.Typer or a function), not {item!r}")
    return NamedCommand(name, command)
