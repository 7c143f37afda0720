"""Addresses: whatever can change an artefact changes its address, and nothing else does."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icrl_bench.planning import Plan, Request, make_plan
from icrl_bench.stages.adapt import Adapt
from icrl_registry import discovery
from icrl_registry.errors import UnknownNameError, UsageError
from icrl_registry.protocols.loading import load_protocol

Overrides = dict[str, dict[str, Any]]


@pytest.fixture
def plan(toy: Path) -> Callable[..., Plan]:
    def make(overrides: Overrides | None = None, protocol: Path | str = toy / "toy.toml", **keywords: Any) -> Plan:
        names = {"method": "toy-method", "environment": "toy-point", **keywords}
        return make_plan(Request(protocol=load_protocol(str(protocol)), overrides=overrides or {}, **names))

    return make


def edited(toy: Path, old: str, new: str) -> Path:
    """A copy of the toy protocol with a change."""
    text = (toy / "toy.toml").read_text()
    assert old in text
    path = toy / "edited.toml"
    path.write_text(text.replace(old, new))
    return path


def addresses(plan: Plan, seed: int = 0) -> dict[str, str]:
    adapt = Adapt(plan, seed)
    return {
        "data": adapt.train.collect.address,
        "floors": adapt.floors.address,
        "checkpoint": adapt.train.address,
        "run": adapt.address,
    }


def changed(first: Plan, second: Plan) -> set[str]:
    before, after = addresses(first), addresses(second)
    return {name for name in before if before[name] != after[name]}


ALL = {"data", "floors", "checkpoint", "run"}
TRAINED = {"checkpoint", "run"}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"environment": {"horizon": 8}}, ALL),
        ({"source": {"total_steps": 60}}, {"data", *TRAINED}),
        ({"method": {"updates": 13}}, TRAINED),
        ({"collect": {"train_tasks": 2}}, {"data", *TRAINED}),
        ({"collect": {"floor_episodes": 3}}, {"floors", "run"}),
        ({"train": {"tasks": 2}}, TRAINED),
        ({"adapt": {"episodes": 4}}, {"run"}),
        ({"adapt": {"rewards": "zero"}}, {"run"}),
        ({"adapt": {"validation_episodes": 3}}, TRAINED),
        ({}, set()),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else f"{len(value)} addresses",  # a set has no order
)
def test_a_setting_changes_the_addresses_of_what_depends_on_it(
    plan: Callable[..., Plan], overrides: Overrides, expected: set[str]
):
    assert changed(plan(), plan(overrides)) == expected


def test_a_default_written_out_changes_nothing_but_the_label(plan: Callable[..., Plan]):
    assert changed(plan(), plan({"method": {"updates": 12}})) == set()
    assert changed(plan(), plan({"adapt": {"episodes": 3}})) == {"run"}  # it is marked as changed, and ranks by itself


def test_seed_device_method_and_track_change_the_addresses(plan: Callable[..., Plan]):
    first = plan()
    assert {name for name in ALL if addresses(first, 0)[name] != addresses(first, 1)[name]} == TRAINED
    assert changed(first, plan(device="cuda:0")) == TRAINED
    assert changed(plan(device="cuda:0"), plan(device="cuda:1")) == set()
    assert changed(first, plan(method="toy-online")) == TRAINED
    assert changed(first, plan(environment="toy-faulty")) == ALL


@pytest.mark.parametrize("place", ["method.toy-method", "environments.toy-point-v1.method.toy-method"])
def test_an_edit_to_a_methods_table_changes_its_runs_and_no_label(plan: Callable[..., Plan], toy: Path, place: str):
    """The label is what all methods share: whose rows rank together doesn't change with one of them."""
    edit = edited(toy, "[other_environments]", f"[{place}]\nupdates = 5\n\n[other_environments]")
    assert changed(plan(), plan(protocol=edit)) == TRAINED
    assert plan().protocol_label == plan(protocol=edit).protocol_label


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "seed = 7, train = 3, validation = 2, test = 2, min",
            "seed = 8, train = 3, validation = 2, test = 2, min",
            ALL,
        ),
        ("train = 3, validation = 2, test = 2, min", "train = 4, validation = 2, test = 2, min", ALL),
        ("seeds = [0]", "seeds = [0]\ndata_seed = 1", ALL),
        ("adapt = { episodes = 3, validation_episodes = 2 }\n\n", "adapt = { episodes = 2 }\n\n", TRAINED),
        (
            "seeds = [0]",
            "seeds = [0]\n[method.toy-method]\n[method.toy-online]\nupdates = 5",
            set(),
        ),  # another method's
        (
            "[other_environments]",
            "[environments.toy-point-v1.method.toy-online]\nupdates = 5\n\n[other_environments]",
            set(),
        ),
        ("adapt = { episodes = 3", "environment = {}\nadapt = { episodes = 3", set()),
        ("seeds = [0]", "seeds = [0, 1, 2]", set()),
        ("For tests", "In tests", set()),
    ],
)
def test_an_edited_protocol_changes_the_addresses_of_what_depends_on_it(
    plan: Callable[..., Plan], toy: Path, old: str, new: str, expected: set[str]
):
    first, second = plan(), plan(protocol=edited(toy, old, new))
    assert changed(first, second) == expected
    assert (first.protocol_label != second.protocol_label) == bool(expected), "rows would be ranked together"


@pytest.mark.parametrize(
    ("component", "expected"), [("ToySource", {"data", *TRAINED}), ("ToyMethod", TRAINED), ("ToyPoint", ALL)]
)
def test_edited_code_changes_the_addresses_of_what_depends_on_it(
    toy: Path, plan: Callable[..., Plan], component: str, expected: set[str], monkeypatch: pytest.MonkeyPatch
):
    """Each component is moved to a module of its own, of which one character of the code is edited."""
    points = toy / "toy_parts-1.0.dist-info" / "entry_points.txt"
    module = toy / f"moved_{component.lower()}.py"
    points.write_text(points.read_text().replace(f"toy_parts:{component}\n", f"{module.stem}:{component}\n"))
    module.write_text(f"from toy_parts import {component}\nEDITED = 1\n")
    discovery._scan.cache_clear()
    first = addresses(plan())
    module.write_text(f"from toy_parts import {component}\nEDITED = 2\n")
    second = addresses(plan())
    assert {name for name in ALL if first[name] != second[name]} == expected


def test_settings_that_all_methods_share_mark_the_protocol(plan: Callable[..., Plan]):
    plain = load_protocol("smoke")
    request = {"method": "task-blind", "environment": "reacher-goal", "protocol": plain}

    def label(overrides: Overrides) -> str:
        return make_plan(Request(overrides=overrides, **request)).protocol_label

    assert label({}) == "smoke-v1"
    assert label({"method": {"updates": 5}}) == "smoke-v1"
    marked = [
        label({"environment": {"control_weight": 1.0}}),
        label({"source": {"total_steps": 600}}),
        label({"source": {"total_steps": 500}}),
        label({"source": {"name": "sb3-ppo"}}),
        label({"collect": {"train_tasks": 2}}),
        label({"train": {"tasks": 2}}),
        label({"adapt": {"episodes": 2}}),
        label({"adapt": {"rewards": "shuffled"}}),
    ]
    assert all(re.fullmatch(r"smoke-v1\+[0-9a-f]{6}", each) for each in marked)
    assert len(set(marked)) == len(marked)


def test_a_protocol_file_of_ones_own_is_marked_by_its_content(plan: Callable[..., Plan], toy: Path):
    assert re.fullmatch(r"toy-v1\+[0-9a-f]{6}", plan().protocol_label)
    assert plan().protocol_label == plan().protocol_label
    other = edited(toy, "floor_episodes = 1", "floor_episodes = 9")  # of another environment
    assert plan(protocol=other).protocol_label == plan().protocol_label


def test_the_variant_lists_what_the_method_changes(plan: Callable[..., Plan]):
    overrides = {"method": {"updates": 5, "step_size": 0.1}, "adapt": {"episodes": 2}}
    assert plan(overrides).variant == {"method.step_size": 0.1, "method.updates": 5}
    assert plan().variant == {}
    protocols_own = plan().config["method"]["updates"]
    assert plan({"method": {"updates": protocols_own, "step_size": 0.1}}).variant == {"method.step_size": 0.1}
    assert plan(overrides).config["method"]["updates"] == 5


def test_another_source_inherits_the_protocols_budget_and_nothing_else():
    """`--set source.name=sb3-ppo` where the protocol has settings for SAC."""
    request = Request("task-blind", "reacher-goal", load_protocol("smoke"), {"source": {"name": "sb3-ppo"}})
    plan = make_plan(request)
    assert plan.source.plugin.entry.name == "sb3-ppo"
    budget = load_protocol("smoke").plan_for("reacher-goal-v1").settings["source"]["total_steps"]
    assert plan.source.config == plan.source.plugin.component.Config(total_steps=budget)


@pytest.mark.parametrize(
    ("overrides", "keywords", "kind", "hint"),
    [
        ({}, {"method": "toy-metod"}, UnknownNameError, "toy-method"),
        ({}, {"environment": "toy-pint"}, UnknownNameError, "toy-point"),
        ({"source": {"name": "toy-sorce"}}, {}, UnknownNameError, "toy-source"),
        ({"method": {"update": 3}}, {}, UnknownNameError, "method.updates"),
        ({"backbone": {"num_layers": 3}}, {}, UsageError, "METHOD-BACKBONE"),
        ({}, {"track": "offline"}, UsageError, "its tracks: online"),
    ],
)
def test_what_does_not_exist_is_refused(
    plan: Callable[..., Plan], overrides: Overrides, keywords: dict[str, str], kind: type[UsageError], hint: str
):
    with pytest.raises(kind) as caught:
        plan(overrides, **keywords)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_rewards_cannot_be_shuffled_among_one_task(plan: Callable[..., Plan], toy: Path):
    with pytest.raises(UsageError, match="two test tasks"):
        plan({"adapt": {"rewards": "shuffled"}}, edited(toy, "test = 2, min", "test = 1, min"))


def test_training_tasks_can_be_fewer_and_stay_spread(plan: Callable[..., Plan]):
    full, fewer = plan(), plan({"collect": {"train_tasks": 2}})
    assert [task.index for task in fewer.tasks["train"]] == [0, 2]
    assert fewer.tasks["train"][1] == full.tasks["train"][2]
    assert fewer.tasks["test"] == full.tasks["test"]


@pytest.mark.parametrize(
    ("method", "source", "words", "hint"),
    [
        (
            "macaw",
            None,
            "dark-room-v1 has discrete actions, which the method macaw doesn't learn",
            "ad, dpt, task-blind",
        ),
        ("ad-mamba", "sac", "which the source sac doesn't learn", "q-learning"),
    ],
)
def test_actions_that_a_part_cannot_learn_are_refused_by_the_plan(
    method: str, source: str | None, words: str, hint: str
):
    overrides: Overrides = {} if source is None else {"source": {"name": source}}
    with pytest.raises(UsageError, match=words) as caught:
        make_plan(Request(method, "dark-room", load_protocol("grid-worlds"), overrides))
    assert hint in caught.value.hint


def test_continuous_actions_are_nothing_for_a_table():
    overrides: Overrides = {"source": {"name": "q-learning"}}
    with pytest.raises(UsageError, match="has continuous actions, which the source q-learning doesn't learn"):
        make_plan(Request("ad-mamba", "reacher-goal", load_protocol("smoke"), overrides))


def test_the_sources_own_runs_need_no_method_that_learns():
    plan = make_plan(Request("source", "dark-room", load_protocol("grid-worlds"), {}))
    assert plan.replays_source
