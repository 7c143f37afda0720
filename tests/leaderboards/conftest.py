"""Synthetic runs: returns that rise from a floor towards an oracle, with seed, task and episode effects."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from icrl_leaderboards.runs.record import PluginUse, RunRecord

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

MakeRecord = Callable[..., RunRecord]

#: Names that must come out as text wherever they are shown.
HOSTILE = {
    "script": '<script>alert("x")</script>',
    "attribute": '"><img src=x onerror=alert(1)>',
    "apostrophe": "' onmouseover='alert(1)",
    "markdown": "a`b*c_d|e[f](javascript:alert(1))",
    "controls": "\x1b[31mred\x1b[0m\r\n\x00bell\x07",
    "bidirectional": "abc\u202edef\u2066\u200f",
    "hebrew": "שלום עולם",
    "long": "x" * 10_000,
    "template": "{{ 7 * 7 }} {% raw %}",
    "mathematics": "$\\frac{1}{2}$",
    "underscore": "_hidden",
    "rich": "[bold red]rich[/bold red] :smile:",
    "address": "www.example.com http://example.com",
    "stacked": "e" + "\u0301" * 50,
    "sql": "'; DROP TABLE runs; --",
    "closing": "<!-- --> ]]> </style></svg>",
    "entity": "&lt;b&gt;",
    "heading": "- 1. # > heading",
    "empty": "",
}


def synthetic_record(
    method: str = "ad-mamba",
    seed: int = 0,
    environment: str = "reacher-goal-v1",
    protocol: str = "laptop-v0",
    num_tasks: int = 10,
    num_episodes: int = 50,
    skill: float = 0.7,
    **changes: Any,
) -> RunRecord:
    """A run whose returns rise from random (−12) to `skill` of the way to the oracle (−2)."""
    generator = np.random.default_rng([seed, *method.encode()[:50], *environment.encode()])
    progress = skill * (1 - np.exp(-np.arange(num_episodes) / max(num_episodes / 5, 1)))
    task_effect = generator.normal(scale=0.8, size=(num_tasks, 1))
    noise = generator.normal(scale=0.6, size=(num_tasks, num_episodes)) + generator.normal(scale=0.3)
    returns = -12 + 10 * progress[None] + task_effect + noise
    fields: dict[str, Any] = {
        "run_id": f"{environment}-{protocol}-{method}-{seed}"[:255],
        "method": method,
        "backbone": "mamba",
        "environment": environment,
        "protocol": protocol,
        "track": "online",
        "seed": seed,
        "parameters": 130_000,
        "task_parameters": generator.uniform(-0.2, 0.2, size=(num_tasks, 2)).tolist(),
        "task_labels": [f"test-{index:03d}" for index in range(num_tasks)],
        "returns": returns.tolist(),
        "episode_lengths": [[50] * num_episodes] * num_tasks,
        "random": [-12.5] * num_tasks,
        "zero_action": [-9.0] * num_tasks,
        "oracle": [-2.0] * num_tasks,
        "oracle_greedy": [-1.8] * num_tasks,
        "train_env_steps": 1_050_000,
        "adapt_env_steps": num_tasks * num_episodes * 50,
        "collect_env_steps": 1_200_000,
        "seconds": {"collect": 612.0, "train": 780.5, "adapt": 11.25},
        "checkpoint": "0123456789abcdef",
        "dataset": "fedcba9876543210",
        "created_at": "2026-01-31T12:00:00+00:00",
        "config": {"method": {"learning_rate": 0.002, "context_length": 750}, "backbone": {"num_layers": 4}},
        "plugins": [PluginUse(kind, kind, "icrl-bench", "0.1.0", "ab" * 32) for kind in ("environment", "method")],
        "provenance": {
            "versions": {"torch": "2.13.0"},
            "git": "0" * 40,
            "dirty": False,
            "kernel": "numba",
            "threads": 2,
        },
        "diagnostics": {"tokens": 2500.0},
    }
    return RunRecord(**(fields | changes))


@pytest.fixture
def make_record() -> MakeRecord:
    return synthetic_record


@pytest.fixture(scope="module")
def make_module_record() -> MakeRecord:
    """The same for fixtures that live as long as a module."""
    return synthetic_record


@pytest.fixture(scope="module")
def hostile_corpus() -> list[str]:
    return list(HOSTILE.values())


@pytest.fixture(params=list(HOSTILE), ids=list(HOSTILE))
def hostile_name(request: pytest.FixtureRequest) -> str:
    return HOSTILE[request.param]


@pytest.fixture
def hostile_names() -> list[str]:
    return list(HOSTILE.values())


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The system's Chromium, headless."""
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    installed = importlib.util.find_spec("playwright") is not None
    if executable is None or not installed:
        missing = "Chromium (Debian's package chromium)" if installed else "playwright (the extra dev)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {missing}")
    playwright = importlib.import_module("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=executable, headless=True, args=list(FLAGS))
        yield browser
        browser.close()
