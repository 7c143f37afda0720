"""Hooks: validated when registered, called with what they ask for, and harmless when they fail."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import typer

from icrl_registry.discovery import PluginEntry
from icrl_registry.errors import PluginError, UnknownNameError
from icrl_registry.hooks import HOOK_NAMES, HookManager, HookSpecifications, ReportSection, hookimpl

EVENT = {"event": "stage_progress", "stage": "train", "done": 10, "total": 100}


def module(**functions: Any) -> SimpleNamespace:
    """A stand-in for a plugin module with these functions, each marked as a hook."""
    return SimpleNamespace(__name__="acme_hooks", **{name: hookimpl(function) for name, function in functions.items()})


@pytest.fixture
def manager() -> HookManager:
    return HookManager(entries=[])


def test_every_hook_is_documented_and_has_a_method():
    for name in HOOK_NAMES:
        assert (getattr(HookSpecifications, name).__doc__ or "").strip()
        assert callable(getattr(HookManager, name.removeprefix("icrl_")))


def test_progress_and_results_reach_every_plugin(manager: HookManager):
    seen: list[Any] = []
    manager.register(module(icrl_progress=lambda event: seen.append(event)), "acme")
    manager.register(module(icrl_result=lambda record: seen.append(record["run_id"])), "rival")
    manager.progress(EVENT)
    manager.result({"run_id": "run-1"})
    assert seen == [EVENT, "run-1"]
    assert manager.failures == []


def test_a_module_that_asks_for_fewer_reports_gets_fewer(manager: HookManager, monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr("icrl_registry.hooks.time.monotonic", lambda: now)
    few: list[Any] = []
    every: list[Any] = []
    modest = module(icrl_progress=lambda event: few.append((event["name"], event.get("done"))))
    modest.icrl_progress_every = 1.0
    manager.register(modest, "acme")
    manager.register(module(icrl_progress=lambda event: every.append(event["name"])), "rival")
    for name in ("train seed 0", "train seed 1"):  # each stage is counted by itself
        manager.progress({"event": "stage_started", "name": name})
        for done in range(1, 11):
            now += 0.3
            manager.progress({"event": "stage_progress", "name": name, "done": done, "total": 10})
    assert [done for name, done in few if name == "train seed 0"] == [None, 1, 5, 9, 10]
    assert len(few) == 10
    assert len(every) == 22


def test_a_module_whose_wish_cannot_be_read_is_reported(manager: HookManager):
    strange = module(icrl_progress=lambda event: None)
    strange.icrl_progress_every = "often"
    manager.register(strange, "acme")
    with pytest.warns(UserWarning, match="acme"):
        manager.progress(EVENT)


def test_a_hook_may_take_fewer_arguments(manager: HookManager):
    manager.register(module(icrl_report_sections=lambda: [("Title", "*text*")]), "acme")
    assert manager.report_sections([{"run_id": "run-1"}]) == [ReportSection("Title", "*text*")]


def test_an_unknown_hook_is_refused_with_the_nearest_name(manager: HookManager):
    with pytest.raises(UnknownNameError) as caught:
        manager.register(module(icrl_resultt=lambda record: None), "acme")
    assert "icrl_result" in caught.value.hint
    assert "acme" in caught.value.message


def test_an_unmarked_hook_is_refused(manager: HookManager):
    with pytest.raises(PluginError, match="not marked") as caught:
        manager.register(SimpleNamespace(icrl_result=lambda record: None), "acme")
    assert "@hookimpl" in caught.value.hint


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"icrl_result": lambda recordd: None}, "recordd"), ({"on_result": lambda record: None}, "'on_result'")],
)
def test_a_wrong_argument_or_an_unknown_marked_function_is_refused_and_leaves_nothing_behind(
    manager: HookManager, wrong: dict[str, Any], words: str
):
    seen: list[Any] = []
    with pytest.raises(PluginError, match=rf"acme.*{words}"):
        manager.register(module(icrl_progress=lambda event: seen.append(event), **wrong), "acme")
    manager.progress(EVENT)
    manager.result({})
    assert seen == []
    assert manager.failures == []


def test_registering_twice_is_refused_and_keeps_the_first(manager: HookManager):
    seen: list[Any] = []
    hooks = module(icrl_progress=lambda event: seen.append(event))
    manager.register(hooks, "acme")
    with pytest.raises(PluginError, match="registered already"):
        manager.register(hooks, "acme")
    manager.progress(EVENT)
    assert seen == [EVENT]


@pytest.mark.parametrize("error", [RuntimeError("no network"), SystemExit(3)])
def test_a_failing_hook_is_reported_with_its_owner_and_the_others_run(manager: HookManager, error: BaseException):
    seen: list[str] = []

    def fail(event: dict[str, Any]) -> None:
        raise error

    manager.register(module(icrl_progress=fail), "acme")
    manager.register(module(icrl_progress=lambda event: seen.append(event["stage"])), "rival")
    with pytest.warns(UserWarning, match=rf"icrl_progress of acme failed: {type(error).__name__}"):
        manager.progress(EVENT)
    manager.progress(EVENT)
    assert seen == ["train", "train"]
    assert [(failure.distribution, failure.hook) for failure in manager.failures] == [("acme", "icrl_progress")]


def test_commands_are_collected_and_the_second_of_one_name_is_left_out(manager: HookManager):
    app = typer.Typer()
    manager.register(module(icrl_commands=lambda: [("greet", app)]), "acme")
    manager.register(module(icrl_commands=lambda: [("greet", app), ("part", app)]), "rival")
    with pytest.warns(UserWarning, match="'greet' exists already"):
        commands = manager.commands()
    assert [command.name for command in commands] == ["greet", "part"]
    assert manager.failures[0].distribution == "rival"


@pytest.mark.parametrize(
    ("hook", "answer"), [("icrl_report_sections", [("only a title",)]), ("icrl_commands", [("name", None)])]
)
def test_an_answer_of_the_wrong_form_is_a_failure(manager: HookManager, hook: str, answer: Any):
    manager.register(module(**{hook: lambda: answer}), "acme")
    with pytest.warns(UserWarning, match="acme"):
        assert (manager.report_sections([]) if hook == "icrl_report_sections" else manager.commands()) == []
    assert manager.failures[0].hook == hook


def test_a_module_that_cannot_be_imported_is_a_failure_of_its_distribution():
    entry = PluginEntry("hooks", "tracker", "a_module_that_nobody_has", "acme", "1.2")
    manager = HookManager(entries=[entry])
    assert manager.entries == (entry,)
    with pytest.warns(UserWarning, match="acme"):
        manager.progress(EVENT)
    assert "a_module_that_nobody_has" in manager.failures[0].error
    manager.progress(EVENT)
    assert len(manager.failures) == 1
