"""Checks a class as if an entry point had named it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from icrl_registry.discovery import Plugin, PluginEntry
from icrl_registry.testing.conformance import run_checks

MakePlugin = Callable[..., Plugin]


@pytest.fixture
def plugin() -> MakePlugin:
    """(kind, class, name) → a plugin of no distribution."""

    def make(kind: str, component: Any, name: str = "sample-v1") -> Plugin:
        return Plugin(PluginEntry(kind, name, "acme:Thing", "acme", "1.2"), component, "0" * 64)

    return make


@pytest.fixture
def failures(plugin: MakePlugin) -> Callable[..., dict[str, str]]:
    """(kind, class, name) → the failed checks and why they failed."""

    def check(kind: str, component: Any, name: str = "sample-v1") -> dict[str, str]:
        return {each.name: each.message for each in run_checks(plugin(kind, component, name)) if not each.passed}

    return check
