"""The three protocols: frozen splits, the seed paper's tables, and settings that every built-in accepts."""

from itertools import combinations

import numpy as np
import pytest

from icrl_bench.plan import Request, make_plan
from icrl_registry.contracts import SPLITS
from icrl_registry.discovery import load
from icrl_registry.errors import BenchError, UnknownNameError, UsageError
from icrl_registry.protocols.loading import SplitPlan, list_protocols, load_protocol, resolve_protocol
from icrl_registry.protocols.splits import draw_tasks, hash_tasks, spread_evenly

ENVIRONMENTS = ("reacher-goal-v1", "pusher-goal-v1", "half-cheetah-vel-v1", "ant-dir-v1")
TRAINING_TASKS = {"reacher-goal-v1": 70, "pusher-goal-v1": 35, "half-cheetah-vel-v1": 15, "ant-dir-v1": 30}  # Table 4


def make_environment(name):
    component = load("environment", name).component
    return component(component.Config())


def plan_of(method, environment, protocol="paper"):
    return make_plan(Request(method, environment, load_protocol(protocol), {}))


def test_the_three_protocols_are_there_and_laptop_is_the_default():
    assert list_protocols() == ["laptop-v0", "paper-v1", "smoke-v1"]
    assert load_protocol().id == "laptop-v0"
    assert resolve_protocol("paper") == resolve_protocol("paper-v1")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_all_protocols_have_the_same_frozen_split_of_the_papers_size(environment):
    splits = [load_protocol(name).environments[environment].split for name in list_protocols()]
    assert len({split.model_dump_json() for split in splits}) == 1
    assert splits[0].sha256 is not None
    assert (splits[0].train, splits[0].validation, splits[0].test) == (TRAINING_TASKS[environment], 5, 10)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_tasks_are_distinct_and_have_the_frozen_hash(environment):
    family, split = make_environment(environment), load_protocol().environments[environment].split
    tasks = draw_tasks(family, split)
    assert hash_tasks(tasks) == split.sha256
    everything = [np.array(task.parameters) for name in SPLITS for task in tasks[name]]
    assert min(family.task_distance(a, b) for a, b in combinations(everything, 2)) > split.minimum_distance > 0


def test_a_split_that_differs_from_its_hash_is_refused():
    split = load_protocol().environments["ant-dir-v1"].split
    with pytest.raises(BenchError, match="frozen split"):
        draw_tasks(make_environment("ant-dir-v1"), split.model_copy(update={"seed": split.seed + 1}))


def test_tasks_that_do_not_fit_are_refused_in_words():
    crowded = SplitPlan(seed=0, train=5, validation=1, test=1, minimum_distance=3.0)
    with pytest.raises(UsageError, match="were not found") as refused:
        draw_tasks(make_environment("half-cheetah-vel-v1"), crowded)
    assert "minimum_distance" in refused.value.hint


def test_fewer_training_tasks_stay_spread_out():
    tasks = draw_tasks(
        make_environment("half-cheetah-vel-v1"), load_protocol().environments["half-cheetah-vel-v1"].split
    )
    chosen = spread_evenly(tasks["train"], 3)
    assert [task.index for task in chosen] == [0, 7, 14]
    assert spread_evenly(tasks["train"], None) == tasks["train"]


SOURCES = {  # Table 4, and Tables 1-3 as far as they are legible
    "reacher-goal-v1": ("sb3-sac", {"total_steps": 100_000, "buffer_size": 1_000_000, "learning_starts": 400}),
    "pusher-goal-v1": (
        "sb3-ppo",
        {
            "total_steps": 500_000,
            "num_epochs": 10,
            "rollout_length": 500,
            "num_envs": 5,
            "entropy_coefficient": 5e-3,
            "learning_rate": 1e-4,
            "batch_size": 64,
            "discount": 0.99,
            "gae_lambda": 0.95,
            "clip_range": 0.2,
            "value_coefficient": 0.5,
        },
    ),
    "half-cheetah-vel-v1": ("sb3-sac", {"total_steps": 400_000, "buffer_size": 1_000_000, "learning_starts": 400}),
    "ant-dir-v1": (
        "sb3-droq",
        {"total_steps": 500_000, "buffer_size": 1_000_000, "learning_starts": 400, "gradient_steps": 3},
    ),
}
OFF_POLICY = {"num_envs": 5, "learning_rate": 1e-4, "batch_size": 256, "discount": 0.99}  # Tables 2 and 3
AD = {  # Table 5
    "reacher-goal-v1": {"episode_stride": 4, "weight_decay": 1e-4},
    "pusher-goal-v1": {"episode_stride": 10, "weight_decay": 2e-4},
    "half-cheetah-vel-v1": {"episode_stride": 8, "weight_decay": 5e-4},
    "ant-dir-v1": {"episode_stride": 10, "weight_decay": 5e-4},
}
MAMBA = {name: (384, 6) if name == "reacher-goal-v1" else (512, 8) for name in ENVIRONMENTS}  # Table 6
TRANSFORMER = {
    "reacher-goal-v1": (42, 8),
    "pusher-goal-v1": (64, 9),
    "half-cheetah-vel-v1": (64, 9),
    "ant-dir-v1": (128, 6),
}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_paper_has_tables_1_to_7(environment):
    mamba, transformer = plan_of("ad-mamba", environment), plan_of("ad-dt", environment)
    source, expected = SOURCES[environment]
    expected = expected if source == "sb3-ppo" else {**expected, **OFF_POLICY}
    assert mamba.source.plugin.entry.name == source
    assert expected.items() <= mamba.source.config.model_dump().items()
    for plan in (mamba, transformer):
        method = plan.method.config.model_dump()
        assert {**AD[environment], "epochs": 450, "updates": None}.items() <= method.items()
        assert method["warmup_fraction"] > 0  # Table 5: cosine with warm-up
    small = mamba.backbone.config.model_dump()
    assert (small["model_size"], small["num_layers"], small["embedding_size"]) == (*MAMBA[environment], 32)
    large = transformer.backbone.config.model_dump()
    assert (large["embedding_size"], large["num_layers"]) == TRANSFORMER[environment]
    assert (large["num_heads"], large["feedforward_size"], large["positions"]) == (4, 2048, "sinusoidal")


@pytest.mark.parametrize(
    ("method", "environment", "millions"),
    [
        ("ad-mamba", "reacher-goal", 5.84),
        ("ad-mamba", "pusher-goal", 13.63),
        ("ad-mamba", "ant-dir", 13.63),
        ("ad-dt", "reacher-goal", 6.44),
        ("ad-dt", "half-cheetah-vel", 11.84),
        ("ad-dt", "ant-dir", 18.9),
    ],
)
def test_paper_sizes_are_those_that_the_tables_add_up_to(method, environment, millions):
    """Layers as the tables give them; encoders, projection and head add less than 2 %."""
    plan = plan_of(method, environment)
    backbone = plan.backbone.plugin.component(plan.backbone.config, context_length=100)
    count = sum(parameter.numel() for parameter in backbone.parameters()) / 1e6
    assert millions * 0.98 < count <= millions * 1.005


@pytest.mark.parametrize("protocol", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_built_in_pairing_has_valid_settings(protocol, environment):
    for method in ("ad-mamba", "ad-dt", "ad-gru", "ad-lstm", "task-blind"):
        plan = plan_of(method, environment, protocol)
        assert plan.protocol_label == load_protocol(protocol).id
        assert plan.variant == {}


def test_later_layers_win():
    protocol = load_protocol("laptop")
    everywhere, here = protocol.method["ad"], protocol.environments["pusher-goal-v1"].method["ad"]
    settings = protocol.settings_for("pusher-goal-v1", "ad", "dt")["method"]
    assert settings["batch_size"] == here["batch_size"] != everywhere["batch_size"]
    assert settings["learning_rate"] == protocol.method["ad-dt"]["learning_rate"] != everywhere["learning_rate"]
    assert settings["context_length"] == everywhere["context_length"]


def test_an_unknown_protocol_names_the_nearest():
    with pytest.raises(UnknownNameError) as refused:
        load_protocol("laptpo")
    assert "laptop" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [("id = ", "not TOML"), ('id = "mine"', "id: "), ('id = "mine-v1"\nsummary = ""\nseeds = []', "seeds: ")],
)
def test_a_file_that_is_no_protocol_is_refused_with_the_place(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_protocol(str(path))
