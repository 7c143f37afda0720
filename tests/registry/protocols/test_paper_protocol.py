"""`paper-v1` against the seed paper's Tables 1-7, typed from its appendix: what a run would use must be what they say.

Beaussant and Mounsif, "Scaling Algorithm Distillation for Continuous Control with Mamba", arXiv 2506.13892. The rows of
PPO that also stand in the tables of SAC and DroQ are left out. Of DroQ's eleven row names and ten values the reading with
five environments and three gradient steps is taken, as the protocol says.
"""

from __future__ import annotations

from typing import Any

import pytest

from icrl_registry.configuration import ComponentConfig, build_config
from icrl_registry.contracts import EnvironmentSpec
from icrl_registry.discovery import load
from icrl_registry.protocols.loading import load_protocol

ENVIRONMENTS = ("reacher-goal-v1", "pusher-goal-v1", "half-cheetah-vel-v1", "ant-dir-v1")

TABLE_1_PPO = {
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
}
TABLE_2_SAC = {
    "buffer_size": 10**6,
    "learning_starts": 400,
    "num_envs": 5,
    "learning_rate": 1e-4,
    "batch_size": 256,
    "discount": 0.99,
}
TABLE_3_DROQ = {**TABLE_2_SAC, "gradient_steps": 3}
TABLE_4 = {  # source, its hyper-parameters, training tasks, environment steps a task
    "reacher-goal-v1": ("sb3-sac", TABLE_2_SAC, 70, 10**5),
    "pusher-goal-v1": ("sb3-ppo", TABLE_1_PPO, 35, 5 * 10**5),
    "half-cheetah-vel-v1": ("sb3-sac", TABLE_2_SAC, 15, 4 * 10**5),
    "ant-dir-v1": ("sb3-droq", TABLE_3_DROQ, 30, 5 * 10**5),
}
TABLE_5 = {  # downsampling rate k, weight decay; all: Adam, 450 epochs, cosine with warm-up
    "reacher-goal-v1": (4, 1e-4),
    "pusher-goal-v1": (10, 2e-4),
    "half-cheetah-vel-v1": (8, 5e-4),
    "ant-dir-v1": (10, 5e-4),
}
TABLE_6_MAMBA = {  # embedding, model, layers
    "reacher-goal-v1": (32, 384, 6),
    "pusher-goal-v1": (32, 512, 8),
    "half-cheetah-vel-v1": (32, 512, 8),
    "ant-dir-v1": (32, 512, 8),
}
TABLE_7_DT = {  # heads, feed-forward, embedding, layers; positions are absolute
    "reacher-goal-v1": (4, 2048, 42, 8),
    "pusher-goal-v1": (4, 2048, 64, 9),
    "half-cheetah-vel-v1": (4, 2048, 64, 9),
    "ant-dir-v1": (4, 2048, 128, 6),
}
SIZES = {  # millions of parameters that these widths and depths have, by arithmetic (the paper: 6, 12, 12, 12 or 14)
    "mamba": {"reacher-goal-v1": 5.84, "pusher-goal-v1": 13.63, "half-cheetah-vel-v1": 13.63, "ant-dir-v1": 13.63},
    "dt": {"reacher-goal-v1": 6.44, "pusher-goal-v1": 11.84, "half-cheetah-vel-v1": 11.84, "ant-dir-v1": 18.9},
}


def resolve(environment: str, backbone: str) -> dict[str, ComponentConfig]:
    """The configurations that `--protocol paper --method ad-BACKBONE` runs with."""
    protocol = load_protocol("paper-v1")
    settings = protocol.settings_for(environment, "ad", backbone)
    plugins = {
        "source": ("source", protocol.plan_for(environment).source),
        "method": ("method", "ad"),
        "backbone": ("backbone", backbone),
        "environment": ("environment", environment),
    }
    return {
        section: build_config(load(kind, name).component.Config, settings.get(section, {}), section)
        for section, (kind, name) in plugins.items()
    }


def values(config: ComponentConfig, keys: Any) -> dict[str, Any]:
    return {key: getattr(config, key) for key in keys}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_tables_1_to_4_sources(environment: str):
    source, table, tasks, steps = TABLE_4[environment]
    plan = load_protocol("paper-v1").plan_for(environment)
    assert plan.source == source
    assert plan.split.train == tasks
    for backbone in ("mamba", "dt"):
        config = resolve(environment, backbone)["source"]
        assert values(config, table) == table
        assert config.total_steps == steps  # type: ignore[attr-defined]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("backbone", ["mamba", "dt"])
def test_table_5_training(environment: str, backbone: str):
    stride, weight_decay = TABLE_5[environment]
    config: Any = resolve(environment, backbone)["method"]
    assert (config.episode_stride, config.weight_decay) == (stride, weight_decay)
    assert (config.epochs, config.updates) == (450, None)
    assert 0 < config.warmup_fraction < 1
    assert config.final_learning_rate_fraction == 0  # cosine to the end
    assert config.token_layout == "transition"
    assert config.targets == "executed"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_table_6_mamba(environment: str):
    config: Any = resolve(environment, "mamba")["backbone"]
    assert (config.embedding_size, config.model_size, config.num_layers) == TABLE_6_MAMBA[environment]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_table_7_transformer(environment: str):
    config: Any = resolve(environment, "dt")["backbone"]
    found = (config.num_heads, config.feedforward_size, config.embedding_size, config.num_layers)
    assert found == TABLE_7_DT[environment]
    assert config.positions in ("sinusoidal", "learned")
    model = load("backbone", "dt").component(config, context_length=8)
    assert model.model_size == 4 * config.embedding_size


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("backbone", ["mamba", "dt"])
def test_sizes(environment: str, backbone: str):
    """Encoders and head come on top of the transformer's blocks, at most 20 thousand parameters."""
    import numpy as np

    configs = resolve(environment, backbone)
    spec: EnvironmentSpec = load("environment", environment).component(configs["environment"]).spec
    component = load("backbone", backbone).component

    def build(context_length: int) -> Any:
        return component(configs["backbone"], context_length=context_length)

    method = load("method", "ad").component(configs["method"], build)
    model = method.build_model(configs["method"], spec, 16, np.random.SeedSequence(0))
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    stated = SIZES[backbone][environment]
    assert stated - 0.01 < count < stated + 0.03


def test_mql_has_its_published_settings_for_ant_dir():
    """The run script of Fakoor et al. 2020, its column ant-dir (not ant-goal)."""
    published = {
        "learning_rate": 3e-4,
        "history_length": 25,
        "context_size": 30,
        "policy_frequency": 4,
        "exploration_noise": 0.2,
        "target_noise": 0.4,
        "updates_per_round": 1000,
        "episodes_per_round": 5,
        "initial_steps_per_task": 1500,
        "propensity_clip": 1.2,
        "propensity_regularisation": 0.05,
        "own_updates": 5,
        "replay_updates": 400,
        "replay_batch_multiple": 5,
        "propensity_features": "context",
        "unbounded_history": True,
        "snapshot_size": 2000,
    }
    settings = load_protocol("paper-v1").settings_for("ant-dir-v1", "mql", None)["method"]
    config = build_config(load("method", "mql").component.Config, settings, "method")
    assert values(config, published) == published


def test_no_setting_is_left_to_a_default_that_the_tables_name():
    """A default may change with a new version of a plugin; what the paper states must stand in the protocol."""
    protocol = load_protocol("paper-v1")
    for environment in ENVIRONMENTS:
        for backbone, table in (("mamba", TABLE_6_MAMBA), ("dt", TABLE_7_DT)):
            settings = protocol.settings_for(environment, "ad", backbone)
            assert len(table) == len(ENVIRONMENTS)
            assert set(TABLE_4[environment][1]) | {"total_steps"} <= set(settings["source"])
            assert {"episode_stride", "weight_decay", "epochs", "updates", "learning_rate"} <= set(settings["method"])
            assert {"embedding_size", "num_layers"} <= set(settings["backbone"])
