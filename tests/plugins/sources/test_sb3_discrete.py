"""Discrete actions through Stable-Baselines3: against the library by itself, a closed form, and the contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from icrl_plugins.environments.grid_worlds.dark_room import DarkRoom
from icrl_plugins.randomness.global_generators import isolated_global_generators
from icrl_plugins.sources.evaluation import episode_returns
from icrl_plugins.sources.stable_baselines3.discrete_ppo import Sb3DiscretePPO
from icrl_plugins.sources.stable_baselines3.dqn import Sb3DQN
from icrl_plugins.sources.stable_baselines3.source import FUSED_ADAM
from icrl_registry.actions import action_numbers, one_hot
from icrl_registry.contracts import Source, SourceRun, Task
from icrl_registry.discovery import load
from icrl_registry.errors import UsageError
from icrl_registry.testing.conformance import run_checks

ROOM = DarkRoom(DarkRoom.Config())
GOAL = Task((6.0, 3.0), "train", 0)
SMALL_DQN: dict[str, Any] = {"total_steps": 400, "num_envs": 2, "learning_starts": 40, "hidden_sizes": (16,)}
SMALL_PPO: dict[str, Any] = {
    "total_steps": 400,
    "num_envs": 2,
    "rollout_length": 40,
    "batch_size": 40,
    "hidden_sizes": (16,),
}
SMALL = [pytest.param(Sb3DQN, SMALL_DQN, id="dqn"), pytest.param(Sb3DiscretePPO, SMALL_PPO, id="ppo")]


def collect(source: Source, task: Task = GOAL, seed: int = 0) -> SourceRun:
    (run,) = source.collect(ROOM, [task], [np.random.SeedSequence(seed)], lambda steps: None)
    return run


@pytest.mark.parametrize(
    ("name", "settings"), [("sb3-dqn", {"learning_starts": 20}), ("sb3-ppo-discrete", {"rollout_length": 20})]
)
def test_they_keep_the_contract(name: str, settings: dict[str, Any]):
    settings = {"total_steps": 200, "num_envs": 2, "hidden_sizes": [8], **settings}
    assert not [result for result in run_checks(load("source", name), settings) if not result.passed]


@pytest.mark.parametrize(("source_type", "settings"), SMALL)
def test_what_is_recorded_is_what_the_library_by_itself_does(source_type, settings):
    """The library's algorithm in Gymnasium environments, without ours: the same actions, observations and rewards."""
    config = source_type.Config(**settings)
    run = collect(source_type(config))
    shared = {"learning_rate": config.learning_rate, "batch_size": config.batch_size, "gamma": config.discount}
    policy = {"net_arch": [16], "optimizer_kwargs": FUSED_ADAM}
    with isolated_global_generators(np.random.SeedSequence(0)) as seed:
        environment = DummyVecEnv([lambda: ROOM.make(GOAL)] * 2)
        if source_type is Sb3DQN:
            theirs: Any = DQN(
                "MlpPolicy",
                environment,
                **shared,
                buffer_size=400,
                learning_starts=40,
                train_freq=1,
                target_update_interval=500,
                exploration_fraction=0.5,
                exploration_final_eps=0.0,
                policy_kwargs=policy,
                seed=seed,
                device="cpu",
            )
        else:
            theirs = PPO(
                "MlpPolicy",
                environment,
                **shared,
                n_steps=40,
                ent_coef=5e-3,
                policy_kwargs={
                    "net_arch": {"pi": [16], "vf": [16]},
                    "optimizer_kwargs": {**FUSED_ADAM, "eps": 1e-5},
                },
                seed=seed,
                device="cpu",
            )
        taken: list[Any] = []
        step = environment.step_async

        def note(actions: Any) -> None:
            taken.append(np.array(actions))
            step(actions)

        environment.step_async = note  # type: ignore[method-assign]
        theirs.learn(400)
    np.testing.assert_array_equal(action_numbers(run.history.actions), np.stack(taken, axis=1))
    np.testing.assert_array_equal(run.history.actions.sum(axis=-1), 1)
    for name, weights in theirs.policy.state_dict().items():
        np.testing.assert_array_equal(run.policy[f"policy.{name}"], weights.numpy(), err_msg=name)


@pytest.mark.parametrize(("source_type", "settings"), SMALL)
def test_a_rebuilt_policy_acts_in_rows_as_the_trained_one(source_type, settings):
    source = source_type(source_type.Config(**settings))
    run = collect(source)
    policy = source.greedy_policy(run.policy, ROOM.spec)
    seed = int(np.random.SeedSequence(0).generate_state(2)[1] >> 1)
    assert episode_returns(ROOM, GOAL, policy, 10, seed).mean() == run.statistics["greedy_return"]
    cells = np.stack(np.meshgrid(np.arange(9), np.arange(9)), axis=-1).reshape(-1, 2).astype(np.float32)
    rows = policy(cells)
    assert rows.shape == (81, 5)
    np.testing.assert_array_equal(rows, one_hot(action_numbers(rows), 5))
    other = source_type(source_type.Config(**{**settings, "hidden_sizes": (8,)}))
    with pytest.raises(UsageError, match="not those of a"):
        other.greedy_policy(run.policy, ROOM.spec)


@pytest.mark.parametrize(("source_type", "settings"), SMALL)
def test_recorded_means_are_the_greedy_actions_of_the_policy_that_acted(source_type, settings):
    """A learning rate this small leaves the policy as it was."""
    source = source_type(source_type.Config(**settings, learning_rate=1e-30, record_policy_means=True))
    run = collect(source)
    warm_up = 20 if source_type is Sb3DQN else 0
    seen, means = run.history.observations[:, warm_up:], run.history.policy_means[:, warm_up:]
    expected = source.greedy_policy(run.policy, ROOM.spec)(seen.reshape(-1, 2))
    np.testing.assert_array_equal(means.reshape(-1, 5), expected)


def test_exploration_ends_where_the_settings_say():
    """With ε falling to 0 over a tenth of the steps, the last actions are the greedy ones; with none of it all are."""
    frozen = {**SMALL_DQN, "learning_rate": 1e-30, "learning_starts": 0, "record_policy_means": True}
    falling = collect(Sb3DQN(Sb3DQN.Config(**frozen, random_fraction=0.1))).history
    np.testing.assert_array_equal(falling.actions[:, 20:], falling.policy_means[:, 20:])
    assert not np.array_equal(falling.actions[:, :20], falling.policy_means[:, :20])
    greedy = collect(Sb3DQN(Sb3DQN.Config(**frozen, first_epsilon=0.0))).history
    np.testing.assert_array_equal(greedy.actions, greedy.policy_means)


@pytest.mark.parametrize(
    ("source_type", "settings"),
    [
        pytest.param(
            Sb3DQN,
            {"total_steps": 8_000, "num_envs": 4, "target_update_interval": 200, "learning_rate": 2e-3},
            id="dqn",
        ),
        pytest.param(
            Sb3DiscretePPO,
            {
                "total_steps": 16_000,
                "num_envs": 8,
                "rollout_length": 40,
                "batch_size": 160,
                "num_epochs": 5,
                "learning_rate": 5e-3,
                "entropy_coefficient": 0.02,
            },
            id="ppo",
        ),
    ],
)
def test_they_learn_the_dark_room_to_its_closed_form(source_type, settings):
    """A goal three steps from the middle of the room pays 18 of 20 steps at most."""
    run = collect(source_type(source_type.Config(discount=0.9, hidden_sizes=(64,), **settings)))
    returns = [run.history.episode_returns(stream) for stream in range(run.history.num_streams)]
    first, last = (np.mean([each[part].mean() for each in returns]) for part in (slice(5), slice(-5, None)))
    assert first < 3
    assert run.statistics["greedy_return"] == 18
    assert last > (first + 18) / 2
