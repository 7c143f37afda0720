"""What a tracker hears of a run: who it is about, from the first event on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icrl_registry.hooks import HookManager, HookSpecifications


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    monkeypatch.setattr(HookManager, "progress", lambda self, event: heard.append(dict(event)))
    return heard


def test_every_event_of_a_run_says_which_run_it_is(run: Callable[..., Any], events: list[dict[str, Any]]):
    rows = run("--seeds", "0,1", "--json").document["runs"]
    ids = {row["seed"]: row["run_id"] for row in rows}
    assert {event["stage"] for event in events} == {"collect", "floors", "train", "adapt"}
    for event in events:
        assert event["run_id"] == ids[event["seed"] or 0]  # what seeds share is told of the first
        assert (event["method"], event["env"], event["track"]) == ("toy-method", "toy-point-v1", "online")
        assert event["protocol"] == rows[0]["protocol"]
    assert events[0]["event"] == "stage_started"
    trained = [event for event in events if event["name"] == "train seed 1" and event["event"] == "stage_progress"]
    assert [event["done"] for event in trained] == list(range(1, 13))  # each of the twelve updates
    assert all("loss" in event["metrics"] for event in trained)


def test_every_key_of_an_event_is_in_the_guide_and_in_the_specification(
    run: Callable[..., Any], events: list[dict[str, Any]]
):
    run("--json")
    guide = (Path(__file__).parents[3] / "docs" / "plugins.md").read_text(encoding="utf-8")
    table = guide.partition("| key | in | |")[2]
    for key in {key for event in events for key in event}:
        assert f"`{key}`" in table, key
        assert f"`{key}`" in (HookSpecifications.icrl_progress.__doc__ or ""), key


def test_the_events_of_a_grid_too(cli: Callable[..., Any], toy: Path, inline: None, events: list[dict[str, Any]]):
    common = ("--protocol", toy / "toy-certified.toml", "--methods", "toy-method", "--seeds", "0", "--device", "cpu")
    (row,) = cli("grid", *common, "--json").document["rows"]
    of_the_row = [event for event in events if event["method"] == "toy-method"]
    assert {event["stage"] for event in of_the_row} >= {"train", "adapt"}
    assert {event["run_id"] for event in of_the_row} == {row["run_id"]}
