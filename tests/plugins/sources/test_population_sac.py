"""Populations as sources: they learn what can be learnt, and write down what happened."""

from __future__ import annotations

import numpy as np
import pytest

from icrl_plugins.randomness.seeds import draw_episode_seed, episode_seeds
from icrl_plugins.sources.population.droq import DroQ
from icrl_plugins.sources.population.sac import SAC
from icrl_registry.contracts import Task
from icrl_registry.errors import UsageError

SMALL = {"hidden_sizes": (32, 32), "learning_rate": 3e-3, "batch_size": 64, "initial_temperature": 0.1}
SOURCES = pytest.mark.parametrize("source_type", [SAC, DroQ], ids=["sac", "droq"])


def optimum(environment, goal: float) -> float:
    """Return of the best policy from x = 0: as far as allowed towards the goal at every step, in closed form."""
    distances = np.maximum(abs(goal) - 0.2 * np.arange(1, environment.horizon + 1), 0.0)
    return -float(distances.sum())


@SOURCES
def test_every_task_learns_its_own_goal(source_type, point, collect):
    environment, goals = point(), (-0.4, 0.7, 0.2)
    source = source_type(source_type.Config(total_steps=3_000, **SMALL))
    runs = collect(source, environment, [Task((goal,), "train", i) for i, goal in enumerate(goals)], [0, 1, 2])
    for goal, run in zip(goals, runs, strict=True):
        best = optimum(environment, goal)
        assert best - 0.4 < run.statistics["greedy_return"] <= best + 0.25  # the start is U(±0.1) around 0
    policy = source.greedy_policy(runs[1].policy, environment.spec)
    assert policy(np.zeros((2, 1), np.float32)).min() > 0.5  # towards its goal, far to the right
    with pytest.raises(UsageError, match="not those of a policy"):
        source_type(source_type.Config(hidden_sizes=(16,))).greedy_policy(runs[1].policy, environment.spec)


@SOURCES
def test_replaying_the_actions_gives_the_recorded_histories(source_type, point, collect):
    environment = point(horizon=7, wall=0.45)
    source = source_type(source_type.Config(total_steps=200, num_envs=3, **SMALL, learning_starts=60))
    tasks = [Task((goal,), "train", index) for index, goal in enumerate((0.7, -0.3))]
    for task, run in zip(tasks, collect(source, environment, tasks, [5, 6]), strict=True):
        history = run.history
        assert history.rewards.shape == (3, 66)
        assert history.terminated.any()
        for stream in range(3):
            seeds = episode_seeds(int(run.statistics["stream_seed"]) + stream)
            env = environment.make(task)
            observation, _ = env.reset(seed=draw_episode_seed(seeds))
            for t, action in enumerate(history.actions[stream]):
                np.testing.assert_array_equal(history.observations[stream, t], observation)
                observation, reward, terminated, truncated, _ = env.step(action)
                np.testing.assert_array_equal(history.next_observations[stream, t], observation)
                assert history.rewards[stream, t] == np.float32(reward)
                assert (history.terminated[stream, t], history.truncated[stream, t]) == (terminated, truncated)
                if terminated or truncated:
                    observation, _ = env.reset(seed=draw_episode_seed(seeds))


def test_a_policy_mean_is_recorded_where_it_is_asked_for(point, collect):
    still = {**SMALL, "learning_rate": 1e-30, "total_steps": 120, "num_envs": 2, "learning_starts": 40}
    source = SAC(SAC.Config(record_policy_means=True, **still))
    (run,) = collect(source, point(), [Task((0.7,), "train", 0)], [0])
    means = run.history.policy_means
    assert (means[:, :20] == 0).all()
    policy = source.greedy_policy(run.policy, point().spec)
    expected = policy(run.history.observations[:, 20:].reshape(-1, 1)).reshape(2, -1, 1)
    np.testing.assert_allclose(means[:, 20:], expected, atol=1e-6)
