"""What holds for every source on Stable-Baselines3: exact lengths, determinism, the policy's tensors, a known answer."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from icrl_plugins.randomness.seeds import draw_episode_seed, episode_seeds
from icrl_plugins.sources.evaluation import episode_returns
from icrl_plugins.sources.stable_baselines3.droq import Sb3DroQ, Sb3DroQConfig
from icrl_plugins.sources.stable_baselines3.ppo import Sb3PPO, Sb3PPOConfig
from icrl_plugins.sources.stable_baselines3.sac import Sb3SAC, Sb3SACConfig
from icrl_registry.contracts import Source, Task
from icrl_registry.errors import NumericalError, UsageError

SMALL_PPO = {"rollout_length": 20, "batch_size": 20, "num_epochs": 2, "hidden_sizes": (8, 8)}
SMALL_SAC = {"learning_starts": 40, "batch_size": 8, "hidden_sizes": (8, 8)}
ALL = [
    pytest.param(Sb3PPO, SMALL_PPO, id="ppo"),
    pytest.param(Sb3SAC, SMALL_SAC, id="sac"),
    pytest.param(Sb3DroQ, SMALL_SAC, id="droq"),
]
COLUMNS = ("observations", "actions", "rewards", "next_observations", "terminated", "truncated")


def make(source_type, settings, **more):
    return source_type(source_type.Config(**{"total_steps": 200, "num_envs": 2, **settings, **more}))


def assert_equal_runs(first, second):
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(first.history, column), getattr(second.history, column))
    assert first.policy.keys() == second.policy.keys()
    for name in first.policy:
        np.testing.assert_array_equal(first.policy[name], second.policy[name])
    assert first.statistics == second.statistics


@pytest.mark.parametrize(("source_type", "settings"), ALL)
@pytest.mark.parametrize("total_steps", [199, 200, 230])
def test_every_stream_has_the_promised_length_and_every_step_is_reported(
    source_type, settings, total_steps, point, task, collect
):
    source = make(source_type, settings, total_steps=total_steps)
    assert isinstance(source, Source)
    assert source.group_size() == 1
    reports = []
    (run,) = collect(source, point(), [task], [0], reports.append)
    assert run.history.num_streams == 2
    assert run.history.num_steps == source.total_steps() == sum(reports) == total_steps // 2 * 2
    assert run.history.task is task


@pytest.mark.parametrize(("source_type", "settings"), ALL)
@pytest.mark.parametrize(("total_steps", "learns"), [(40, True), (38, False)], ids=["complete", "incomplete"])
def test_a_last_round_is_learnt_from_if_it_is_complete(
    source_type, settings, total_steps, learns, point, task, collect
):
    rounds = {} if source_type is Sb3PPO else {"train_frequency": 20, "learning_starts": 2}  # of 20 steps a stream
    policies = []
    for learning_rate in (1e-2, 1e-30):
        settings = {**settings, **rounds, "total_steps": total_steps, "learning_rate": learning_rate}
        (run,) = collect(make(source_type, settings), point(), [task], [0])
        policies.append(np.concatenate([values.ravel() for values in run.policy.values()]))
    assert learns == (np.abs(policies[0] - policies[1]).max() > 1e-3)


@pytest.mark.parametrize(("source_type", "settings"), ALL)
def test_a_run_depends_on_its_task_and_seed_only(source_type, settings, point, task, collect):
    other = Task((-0.4,), "train", 4)
    source = make(source_type, settings)
    forwards = collect(source, point(), [task, other], [1, 2])
    random.random(), np.random.rand(), torch.rand(())  # where the shared generators stand must not matter
    backwards = collect(source, point(), [other, task], [2, 1])
    assert_equal_runs(forwards[0], backwards[1])
    assert_equal_runs(forwards[1], backwards[0])
    (reseeded,) = collect(source, point(), [task], [3])
    assert not np.array_equal(reseeded.history.actions, forwards[0].history.actions)


@pytest.mark.parametrize(("source_type", "settings"), ALL)
def test_the_shared_generators_are_left_alone_even_between_two_tasks(source_type, settings, point, task):
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    seeds = [np.random.SeedSequence(0), np.random.SeedSequence(1)]
    for _ in make(source_type, settings).collect(point(), [task, task], seeds, lambda steps: None):
        assert random.getstate() == before[0]
        np.testing.assert_array_equal(np.random.get_state()[1], before[1])
        assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize(("source_type", "settings"), ALL)
def test_streams_differ(source_type, settings, point, task, collect):
    (run,) = collect(make(source_type, settings), point(), [task], [0])
    assert not np.array_equal(run.history.observations[0], run.history.observations[1])
    assert not np.array_equal(run.history.actions[0], run.history.actions[1])


@pytest.mark.parametrize(("source_type", "settings"), ALL)
def test_a_rebuilt_policy_acts_as_the_trained_one(source_type, settings, point, task, collect):
    source, environment = make(source_type, settings, record_policy_means=True), point()
    (run,) = collect(source, environment, [task], [0])
    assert all(name.startswith("policy.") for name in run.policy)
    policy = source.greedy_policy(run.policy, environment.spec)
    evaluation_seed = int(np.random.SeedSequence(0).generate_state(2)[1] >> 1)
    assert episode_returns(environment, task, policy, 10, evaluation_seed).mean() == run.statistics["greedy_return"]
    observations = np.linspace(-1, 1, 7, dtype=np.float32)[:, None]
    one_by_one = np.concatenate([policy(row[None]) for row in observations])
    np.testing.assert_allclose(policy(observations), one_by_one, atol=1e-6)
    assert policy(observations).shape == (7, 1)


def test_tensors_of_another_shape_are_refused(point, task, collect):
    (run,) = collect(make(Sb3SAC, SMALL_SAC), point(), [task], [0])
    with pytest.raises(UsageError, match="not those of a Sb3SAC policy"):
        make(Sb3SAC, SMALL_SAC, hidden_sizes=(16,)).greedy_policy(run.policy, point().spec)


@pytest.mark.parametrize(("source_type", "settings"), ALL)
def test_policy_means_are_those_of_the_acting_policy(source_type, settings, point, task, collect):
    # A learning rate this small leaves the policy as it was at the first step, whose mean can be computed afterwards.
    still = {**settings, "learning_rate": 1e-30}
    source, environment = make(source_type, still, record_policy_means=True), point()
    (run,) = collect(source, environment, [task], [0])
    means, observations = run.history.policy_means, run.history.observations
    assert means.shape == run.history.actions.shape
    warm_up = 0 if source_type is Sb3PPO else 40 // 2
    assert (means[:, :warm_up] == 0).all()
    policy = source.greedy_policy(run.policy, environment.spec)
    expected = policy(observations[:, warm_up:].reshape(-1, 1)).reshape(2, -1, 1)
    np.testing.assert_allclose(means[:, warm_up:], expected, atol=1e-6)
    assert (means[:, warm_up:] != 0).all()
    (without,) = collect(make(source_type, still), environment, [task], [0])
    assert without.history.policy_means is None
    np.testing.assert_array_equal(without.history.actions, run.history.actions)


def optimum(environment, goal: float) -> float:
    """Return of the best policy from x = 0: as far as allowed towards the goal at every step, in closed form."""
    distances = np.maximum(abs(goal) - 0.2 * np.arange(1, environment.horizon + 1), 0.0)
    return -float(distances.sum())


@pytest.mark.parametrize(
    ("source_type", "goal", "settings"),
    [
        (Sb3PPO, 0.7, {"total_steps": 12_000, "rollout_length": 100, "batch_size": 100, "learning_rate": 3e-3}),
        (Sb3SAC, -0.4, {"total_steps": 3_000, "initial_temperature": 0.1}),
        (Sb3DroQ, 0.7, {"total_steps": 2_000, "initial_temperature": 0.1}),
    ],
    ids=["ppo", "sac", "droq"],
)
def test_sources_learn_a_task_whose_best_return_is_known(source_type, goal, settings, point, collect):
    environment = point()
    off_policy = {} if source_type is Sb3PPO else {"learning_rate": 3e-3, "batch_size": 64, "hidden_sizes": (32, 32)}
    source = source_type(source_type.Config(**off_policy, **settings))
    (run,) = collect(source, environment, [Task((goal,), "train", 0)], [0])
    first = np.mean([run.history.episode_returns(stream)[:10].mean() for stream in range(5)])
    best = optimum(environment, goal)
    assert first < best - 1.5
    assert best - 0.35 < run.statistics["greedy_return"] <= best + 0.25  # the start is U(±0.1) around 0
    last = np.mean([run.history.episode_returns(stream)[-10:].mean() for stream in range(5)])
    assert last > (first + best) / 2


def test_linear_schedule_ends_at_zero(point, task, collect):
    """Both runs start alike; the decaying one changes its policy less in the end."""
    config = Sb3PPOConfig(total_steps=100, learning_rate_schedule="linear", learning_rate=2e-3)
    schedule = config.schedule()
    assert [schedule(1.0), schedule(0.5), schedule(0.0)] == [2e-3, 1e-3, 0.0]
    constant = collect(make(Sb3PPO, SMALL_PPO), point(), [task], [0])[0]
    decaying = collect(make(Sb3PPO, SMALL_PPO, learning_rate_schedule="linear"), point(), [task], [0])[0]
    np.testing.assert_array_equal(constant.history.actions[:, :20], decaying.history.actions[:, :20])
    assert not np.array_equal(constant.history.actions, decaying.history.actions)


def test_defaults_are_the_published_tables():
    ppo, sac, droq = Sb3PPOConfig(), Sb3SACConfig(), Sb3DroQConfig()
    assert (ppo.num_epochs, ppo.rollout_length, ppo.num_envs, ppo.entropy_coefficient) == (10, 500, 5, 5e-3)
    assert (ppo.learning_rate, ppo.batch_size, ppo.discount, ppo.gae_lambda) == (1e-4, 64, 0.99, 0.95)
    assert (ppo.clip_range, ppo.value_coefficient) == (0.2, 0.5)
    for config in (sac, droq):
        assert (config.buffer_size, config.learning_starts, config.num_envs) == (1_000_000, 400, 5)
        assert (config.learning_rate, config.batch_size, config.discount) == (1e-4, 256, 0.99)
    assert (sac.total_steps, ppo.total_steps, droq.total_steps) == (100_000, 500_000, 500_000)
    assert (droq.gradient_steps, droq.dropout, droq.layer_norm) == (3, 0.01, True)


@pytest.mark.parametrize("config_type", [Sb3PPOConfig, Sb3SACConfig, Sb3DroQConfig])
def test_every_setting_is_described_and_impossible_ones_are_refused(config_type):
    assert all(field.description for field in config_type.model_fields.values())
    with pytest.raises(ValueError, match="total_steps"):
        config_type(total_steps=4, num_envs=5)


def test_episode_returns_are_those_of_single_environments_also_when_they_end_early(point, task):
    environment = point(horizon=8, wall=0.5)

    def policy(observations):  # leaves at once from the right, wanders to the left otherwise
        return np.where(observations > 0, 1.0, -0.3).astype(np.float32)

    returns, lengths = [], []
    seeds = episode_seeds(4)
    env = environment.make(task)
    for _ in range(6):
        observation, _ = env.reset(seed=draw_episode_seed(seeds))
        rewards = []
        while True:
            observation, reward, terminated, truncated, _ = env.step(policy(observation))
            rewards.append(reward)
            if terminated or truncated:
                break
        returns.append(sum(rewards))
        lengths.append(len(rewards))
    assert len(set(lengths)) > 1
    np.testing.assert_allclose(episode_returns(environment, task, policy, 6, seed=4), returns, rtol=1e-6)


@pytest.mark.parametrize(
    "settings", [{"num_epochs": 2}, {"num_epochs": 1, "batch_size": 40}], ids=["two gradient steps", "one"]
)
def test_a_policy_that_diverged_is_refused(settings, point, task, collect):
    """In the middle of an update, where torch refuses it first, and in the last step of the last one."""
    settings = {**SMALL_PPO, **settings, "learning_rate": 1e39, "total_steps": 40, "evaluation_episodes": 0}
    message = r"train-003, after 20 steps of every stream: the policy's tensor 'policy\..*' is not finite"
    with pytest.raises(NumericalError, match=message):
        collect(make(Sb3PPO, settings), point(), [task], [0])


def test_a_return_that_is_not_finite_is_refused(point, task):
    with pytest.raises(NumericalError, match="train-003: the returns of the greedy policy are"):
        episode_returns(point(broken={"reward": 3}), task, np.zeros_like, 2, seed=0)
