"""Protocol files: what comes with the package, how settings are layered, how tasks are drawn and frozen."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icrl_registry.configuration import build_config
from icrl_registry.contracts import SPLITS, Environment
from icrl_registry.discovery import list_plugins, load
from icrl_registry.errors import UnknownNameError, UsageError
from icrl_registry.protocols.loading import FOLDER, list_protocols, load_protocol, protocol_for
from icrl_registry.protocols.model import AdaptConfig, CollectConfig, EnvironmentPlan, Protocol
from icrl_registry.protocols.splits import draw_tasks, hash_tasks

TRAINING_TASKS = {
    "reacher-goal-v1": 70,
    "pusher-goal-v1": 35,
    "pusher-goal-v2": 35,
    "half-cheetah-vel-v1": 15,
    "ant-dir-v1": 30,
}
ENVIRONMENTS = sorted(TRAINING_TASKS)
GRID_WORLDS = {"dark-key-to-door-v1": (200, 5, 16), "dark-room-v1": (60, 5, 16)}


def environments_of(protocol: str) -> list[str]:
    """What a protocol names: of pusher-goal laptop-v2 the second version, in which the oracle pushes, older ones the first."""
    if protocol == "grid-worlds-v1":
        return sorted(GRID_WORLDS)
    other = "pusher-goal-v1" if protocol == "laptop-v2" else "pusher-goal-v2"
    grid_worlds = list(GRID_WORLDS) if protocol == "smoke-v1" else []
    return sorted([*(name for name in ENVIRONMENTS if name != other), *grid_worlds])


def settings_of(protocol: str, environment: str, name: str, backbone: str | None) -> Any:
    """The built configuration of a method under a protocol."""
    given = load_protocol(protocol).settings_for(environment, name, backbone)["method"]
    return build_config(load("method", name).component.Config, given, "method")


def environment_of(protocol: Protocol, name: str) -> Environment:
    component = load("environment", name).component
    return component(
        build_config(component.Config, protocol.plan_for(name).settings.get("environment", {}), "environment")
    )


def runnable() -> list[tuple[str, str | None]]:
    """Every built-in method with every built-in backbone that it takes."""
    found: list[tuple[str, str | None]] = []
    backbones = [entry.name for entry in list_plugins("backbone") if entry.distribution == "icrl-bench"]
    for entry in list_plugins("method"):
        if entry.distribution == "icrl-bench":
            uses = load("method", entry.name).component.uses_backbone
            found += [(entry.name, backbone) for backbone in (backbones if uses else [None])]
    return found


class TestThePackagesProtocols:
    def test_they_are_four_families(self):
        families = {name.rpartition("-v")[0] for name in list_protocols()}
        assert families == {"smoke", "laptop", "paper", "grid-worlds"}
        assert set(list_protocols()) == {"smoke-v1", "laptop-v1", "laptop-v2", "paper-v1", "grid-worlds-v1"}
        assert load_protocol("laptop").id == "laptop-v2"

    @pytest.mark.parametrize("name", list_protocols())
    def test_each_has_its_files_name_the_seeds_and_its_environments(self, name: str):
        protocol = load_protocol(name)
        assert protocol.id == name
        assert sorted(protocol.environments) == environments_of(name)
        assert protocol.seeds == ((0,) if name.startswith("smoke") else (0, 1, 2))
        assert protocol.summary

    @pytest.mark.parametrize("environment", ENVIRONMENTS)
    def test_all_have_the_same_tasks(self, environment: str):
        named = [name for name in list_protocols() if environment in load_protocol(name).environments]
        plans = [load_protocol(name).plan_for(environment).split for name in named]
        assert len(set(plans)) == 1, "the splits of a task family are frozen once for all protocols"
        assert plans[0].sha256 is not None
        assert (plans[0].train, plans[0].validation, plans[0].test) == (TRAINING_TASKS[environment], 5, 10)
        assert plans[0].minimum_distance > 0

    @pytest.mark.parametrize("name", GRID_WORLDS)
    def test_grid_worlds_have_the_same_tasks_everywhere(self, name: str):
        plans = [load_protocol(protocol).plan_for(name).split for protocol in ("smoke", "grid-worlds")]
        assert plans[0] == plans[1]
        splits = draw_tasks(environment_of(load_protocol("smoke"), name), plans[0])
        assert plans[0].sha256 == hash_tasks(splits)
        assert tuple(map(len, splits.values())) == GRID_WORLDS[name]
        tasks = [task.parameters for members in splits.values() for task in members]
        assert len(set(tasks)) == len(tasks)

    @pytest.mark.parametrize("name", ENVIRONMENTS)
    def test_tasks_are_apart_and_drawn_as_frozen(self, name: str):
        protocol = load_protocol(next(each for each in ("laptop-v1", "laptop-v2") if name in environments_of(each)))
        environment, plan = environment_of(protocol, name), protocol.plan_for(name).split
        splits = draw_tasks(environment, plan)
        assert hash_tasks(splits) == plan.sha256
        assert {split: len(tasks) for split, tasks in splits.items()} == {
            "train": TRAINING_TASKS[name],
            "validation": 5,
            "test": 10,
        }
        tasks = [task for split in SPLITS for task in splits[split]]
        assert len({task.label for task in tasks}) == len(tasks)
        for first, second in itertools.combinations(tasks, 2):
            distance = environment.task_distance(np.asarray(first.parameters), np.asarray(second.parameters))
            assert distance > plan.minimum_distance, f"{first.label} and {second.label}"

    @pytest.mark.parametrize("name", list_protocols())
    @pytest.mark.parametrize("environment", [*ENVIRONMENTS, "somebodys-v1"])
    def test_settings_build_valid_configurations_for_every_builtin(self, name: str, environment: str):
        protocol = load_protocol(name)
        plan = protocol.plan_for(environment)
        source = load("source", plan.source).component
        for method, backbone in runnable():
            settings = protocol.settings_for(environment, method, backbone)
            configs = {
                "method": load("method", method).component.Config,
                "source": source.Config,
                "collect": CollectConfig,
                "adapt": AdaptConfig,
            }
            if backbone is not None:
                configs["backbone"] = load("backbone", backbone).component.Config
            for section, config in configs.items():
                given = settings.get(section, {})
                assert build_config(config, given, section).model_fields_set == set(given)
        if environment in ENVIRONMENTS:
            environment_of(protocol, environment)

    def test_every_method_and_backbone_table_is_of_something_that_exists(self):
        """A table of a misspelt name would be ignored."""
        methods = {entry.name for entry in list_plugins("method")}
        backbones = {entry.name for entry in list_plugins("backbone")}
        full = {f"{method}-{backbone}" for method in methods for backbone in backbones}
        for name in list_protocols():
            protocol = load_protocol(name)
            for layer in (protocol, *protocol.environments.values(), protocol.other_environments):
                assert set(layer.method) <= methods | full
                assert set(layer.backbone) <= backbones

    def test_every_protocol_counts_full_source_training_of_its_streams(self):
        """Histories are whole: the steps are a multiple of the parallel environments."""
        for name in list_protocols():
            for environment in environments_of(name):
                source = load_protocol(name).plan_for(environment).settings["source"]
                assert source["total_steps"] % source["num_envs"] == 0, (name, environment)


class TestLaptop2:
    def test_it_demands_a_certificate_that_pusher_goal_v1_would_not_get(self):
        demanded = load_protocol("laptop-v2").certificate
        assert (demanded.solved, demanded.headroom) == (0.8, 0.35)
        assert demanded.demands_anything
        assert not load_protocol("laptop-v1").certificate.demands_anything

    def test_every_row_of_its_grid_can_be_run(self):
        grid = load_protocol("laptop-v2").grid
        assert len(set(grid)) == len(grid)
        names = {f"{method}-{backbone}" if backbone else method for method, backbone in runnable()}
        for row in grid:
            name, _, track = row.partition("@")
            assert name in names
            assert not track or track in load("method", name).component.tracks

    @pytest.mark.parametrize("environment", environments_of("laptop-v2"))
    @pytest.mark.parametrize("method", ["ad", "dpt"])
    def test_backbones_get_equal_settings_and_the_best_of_some_validations(self, method: str, environment: str):
        config = settings_of("laptop-v2", environment, method, "mamba")
        assert config == settings_of("laptop-v2", environment, method, "dt")
        assert config.select_best
        assert 4 <= config.updates / config.validation_every <= 10
        assert (config.episode_sampling, config.window_order) == ("random", "learning")
        assert config.reward_normalisation == "standardise"
        assert (config.history_from > 0) == (method == "ad")


class TestTheDefault:
    def test_is_laptop_but_for_environments_that_have_a_protocol_of_their_own(self):
        assert protocol_for("reacher-goal").id == "laptop-v2"
        assert protocol_for("somebodys-v1").id == "laptop-v2"
        assert {protocol_for(name).id for name in ("dark-room", "dark-room-v1", "dark-key-to-door")} == {
            "grid-worlds-v1"
        }

    def test_a_protocol_that_is_asked_for_is_taken(self):
        assert protocol_for("dark-room", "smoke").id == "smoke-v1"

    def test_an_older_version_of_a_default_and_one_that_is_none_are_not_taken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        for built_in in FOLDER.glob("*.toml"):
            shutil.copy(built_in, tmp_path)
        text = (FOLDER / "grid-worlds-v1.toml").read_text()
        (tmp_path / "grid-worlds-v2.toml").write_text(text.replace("grid-worlds-v1", "grid-worlds-v2"))
        (tmp_path / "zzz-v1.toml").write_text(text.replace("grid-worlds-v1", "zzz-v1").replace("default = true", ""))
        (tmp_path / "zzzz-v1.toml").write_text("what?")
        monkeypatch.setattr("icrl_registry.protocols.loading.FOLDER", tmp_path)
        assert protocol_for("dark-room").id == "grid-worlds-v2"

    def test_saying_nothing_of_it_leaves_the_hash_as_it_was(self):
        content = load_protocol("laptop-v2").model_dump_json(exclude={"default"}).encode()
        assert load_protocol("laptop-v2").sha256 == hashlib.sha256(content).hexdigest()


class TestNames:
    def test_a_family_means_its_newest_version(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        for version in ("v0", "v2", "v10"):
            text = (FOLDER / "smoke-v1.toml").read_text().replace("smoke-v1", f"mine-{version}")
            (tmp_path / f"mine-{version}.toml").write_text(text)
        monkeypatch.setattr("icrl_registry.protocols.loading.FOLDER", tmp_path)
        assert load_protocol("mine").id == "mine-v10"
        assert load_protocol("mine-v2").id == "mine-v2"

    @pytest.mark.parametrize(("name", "near"), [("labtop", "laptop"), ("paper-v7", "paper-v1"), ("smoke1", "smoke")])
    def test_unknown_names_come_with_the_nearest(self, name: str, near: str):
        with pytest.raises(UnknownNameError) as caught:
            load_protocol(name)
        assert near in caught.value.hint

    def test_a_path_is_a_protocol(self, tmp_path: Path):
        path = tmp_path / "mine.toml"
        path.write_text((FOLDER / "smoke-v1.toml").read_text().replace('id = "smoke-v1"', 'id = "mine-v3"'))
        assert load_protocol(str(path)).id == "mine-v3"
        with pytest.raises(UsageError, match=r"no protocol file .*nowhere\.toml"):
            load_protocol(str(tmp_path / "nowhere.toml"))

    def test_a_copy_may_keep_the_id_and_an_edited_one_may_not(self, tmp_path: Path):
        path = tmp_path / "copy.toml"
        shutil.copy(FOLDER / "smoke-v1.toml", path)
        assert load_protocol(str(path)) == load_protocol("smoke-v1")
        path.write_text(path.read_text().replace("episodes = 6", "episodes = 7"))
        with pytest.raises(UsageError, match="calls itself smoke-v1") as caught:
            load_protocol(str(path))
        assert "id of its own" in caught.value.hint


MINIMAL = """
id = "mine-v1"
summary = "s"
seeds = [0]
[other_environments]
source = "sb3-sac"
split = { seed = 1, train = 2 }
[environments.toy-v1]
source = "sb3-ppo"
split = { seed = 1, train = 3, test = 4 }
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('id = "mine-v1"', 'id = "mine"', "id"),
        ('id = "mine-v1"', "", "id: Field required"),
        ("seeds = [0]", "seeds = []", "seeds"),
        ("seeds = [0]", "sedes = [0]", "seeds: Field required"),
        ("seeds = [0]", "seeds = [0]\nextra = 1", "extra"),
        ("train = 3, test", "train = 0, test", "environments.toy-v1.split.train"),
        ("test = 4 }", "tset = 4 }", "environments.toy-v1.split.tset"),
        ('source = "sb3-ppo"', "", "environments.toy-v1.source"),
        ('source = "sb3-ppo"', 'source = "sb3-ppo"\nsettings.adpat.episodes = 3', "environments.toy-v1.settings.adpat"),
        ("seeds = [0]", "seeds = [0", "is not TOML"),
        ("[other_environments]", "[others]", "others: Extra inputs are not permitted"),
    ],
)
def test_what_is_no_protocol_is_refused_with_its_place(tmp_path: Path, old: str, new: str, words: str):
    assert old in MINIMAL
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        load_protocol(str(path))
    assert str(path) in caught.value.message
    assert words in caught.value.message
    path.write_text(MINIMAL)
    assert load_protocol(str(path)).plan_for("toy-v1").split.test == 4


def test_a_protocol_that_is_no_text_is_refused(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not TOML"):
        load_protocol(str(path))


LAYERS: dict[str, Any] = {
    "id": "layers-v1",
    "summary": "s",
    "seeds": [0],
    "method": {"ad": {"a": 1, "b": 1, "c": 1, "d": 1}, "ad-dt": {"b": 2, "c": 2, "d": 2}},
    "backbone": {"dt": {"w": 1, "x": 1}},
    "environments": {
        "toy-v1": {
            "source": "sb3-sac",
            "split": {"seed": 1, "train": 1},
            "settings": {"source": {"s": 1}},
            "method": {"ad": {"c": 3, "d": 3}, "ad-dt": {"d": 4}},
            "backbone": {"dt": {"x": 2}, "mamba": {"y": 1}},
        }
    },
    "other_environments": {"source": "sb3-ppo", "split": {"seed": 1, "train": 1}},
}


def test_layers_of_settings():
    protocol = Protocol.model_validate(LAYERS)
    assert protocol.settings_for("toy-v1", "ad", "dt") == {
        "source": {"s": 1},
        "method": {"a": 1, "b": 2, "c": 3, "d": 4},
        "backbone": {"w": 1, "x": 2},
    }
    assert protocol.settings_for("toy-v1", "ad", "mamba") == {
        "source": {"s": 1},
        "method": {"a": 1, "b": 1, "c": 3, "d": 3},
        "backbone": {"y": 1},
    }
    assert protocol.settings_for("elsewhere-v1", "ad", "dt") == {
        "method": {"a": 1, "b": 2, "c": 2, "d": 2},
        "backbone": {"w": 1, "x": 1},
    }
    assert protocol.settings_for("elsewhere-v1", "other", None) == {"method": {}}
    protocol.settings_for("toy-v1", "ad", "dt")["source"]["s"] = 99
    assert protocol.settings_for("toy-v1", "ad", "dt")["source"]["s"] == 1, "a protocol is frozen"


def test_a_name_without_a_version_means_the_protocols_own():
    """Not the newest that is installed, which the protocol may know nothing of."""
    protocol = load_protocol("laptop-v1")
    assert protocol.full_name("pusher-goal") == "pusher-goal-v1"
    assert protocol.full_name("pusher-goal-v2") == "pusher-goal-v2"
    assert protocol.full_name("my-maze") == "my-maze"
    plan = protocol.environments["pusher-goal-v1"]
    both = protocol.model_copy(update={"environments": {"pusher-goal-v9": plan, "pusher-goal-v10": plan}})
    assert both.full_name("pusher-goal") == "pusher-goal-v10"


def test_the_hash_of_a_protocol_is_of_its_content():
    first = Protocol.model_validate(LAYERS)
    assert first.sha256 == Protocol.model_validate(LAYERS).sha256
    assert first.sha256 != Protocol.model_validate({**LAYERS, "data_seed": 1}).sha256


def test_plans_of_environments_are_frozen():
    plan = EnvironmentPlan.model_validate(LAYERS["environments"]["toy-v1"])
    with pytest.raises(ValueError, match="frozen"):
        plan.source = "x"  # type: ignore[misc]


class TestOtherEnvironments:
    def test_a_protocol_may_say_nothing_of_them(self, tmp_path: Path):
        text = 'id = "mine-v1"\nsummary = "x"\nseeds = [0]\n[environments.a-v1]\nsource = "sac"\n'
        path = tmp_path / "mine"  # no ending needed
        path.write_text(text + "[environments.a-v1.split]\nseed = 1\ntrain = 2\n")
        protocol = load_protocol(str(path))
        assert protocol.plan_for("a-v1").source == "sac"
        with pytest.raises(UsageError, match="says nothing of b-v1"):
            protocol.plan_for("b-v1")
