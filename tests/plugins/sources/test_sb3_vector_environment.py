"""The vector environment against the library's own, step by step."""

from __future__ import annotations

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from icrl_plugins.randomness.seeds import draw_episode_seed, episode_seeds
from icrl_plugins.sources.recording import HistoryRecorder
from icrl_plugins.sources.stable_baselines3.vector_environment import RecordedVectorEnvironment


def make(environment, task, num_streams=3, num_steps=60, **settings):
    recorder = HistoryRecorder(environment.make_batch([task] * num_streams), [task], environment.spec, num_steps)
    return RecordedVectorEnvironment(recorder, environment.spec, **settings), recorder


class EpisodeSeeded:
    """A Gymnasium environment whose every reset takes the next of a stream's episode seeds."""

    def __init__(self, environment, seed):
        self.environment, self.seeds = environment, episode_seeds(seed)

    def __getattr__(self, name):
        return getattr(self.environment, name)

    def reset(self, seed=None, options=None):
        return self.environment.reset(seed=draw_episode_seed(self.seeds))


def test_it_returns_what_the_librarys_vector_environment_returns(point, task, monkeypatch):
    monkeypatch.setattr("stable_baselines3.common.vec_env.dummy_vec_env._patch_env", lambda environment: environment)
    environment = point(horizon=7, wall=0.35)
    ours, _ = make(environment, task)
    theirs = DummyVecEnv([lambda s=stream: EpisodeSeeded(environment.make(task), 11 + s) for stream in range(3)])
    ours.seed(11)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    generator = np.random.default_rng(0)
    terminations = truncations = 0
    for _ in range(60):
        actions = generator.uniform(-1, 1, (3, 1)).astype(np.float32)
        mine, expected = ours.step(actions), theirs.step(actions)
        for actual, wanted in zip(mine[:3], expected[:3], strict=True):
            np.testing.assert_array_equal(actual, wanted)
            assert actual.dtype == wanted.dtype
        for info, wanted, ended in zip(mine[3], expected[3], mine[2], strict=True):
            assert info.get("TimeLimit.truncated", False) == wanted["TimeLimit.truncated"]
            assert set(info) == ({"TimeLimit.truncated", "terminal_observation"} if ended else set())
            if ended:
                np.testing.assert_array_equal(info["terminal_observation"], wanted["terminal_observation"])
                truncations += info["TimeLimit.truncated"]
                terminations += not info["TimeLimit.truncated"]
    assert terminations > 5
    assert truncations > 5


def test_the_learner_sees_the_scaled_reward_and_the_history_the_true_one(point, task):
    vector, recorder = make(point(), task, reward_scale=10.0)
    vector.seed(0)
    vector.reset()
    _, rewards, _, _ = vector.step(np.full((3, 1), 0.5, np.float32))
    np.testing.assert_allclose(rewards, 10 * recorder.rewards[:, 0], rtol=1e-6)
    assert (recorder.rewards[:, 0] < -0.4).all()


def test_what_was_returned_is_not_overwritten_by_the_next_step(point, task):
    vector, recorder = make(point(), task)
    vector.seed(0)
    first = vector.reset()
    kept = first.copy()
    second, *_ = vector.step(np.ones((3, 1), np.float32))
    np.testing.assert_array_equal(first, kept)
    vector.step(np.ones((3, 1), np.float32))
    np.testing.assert_array_equal(second, recorder.next_observations[:, 0])


def test_seeds_of_streams_differ_and_repeat(point, task):
    starts = []
    for seed in (5, 5, 6):
        vector, _ = make(point(), task)
        vector.seed(seed)
        starts.append(vector.reset())
    np.testing.assert_array_equal(starts[0], starts[1])
    assert len(np.unique(starts[0])) == 3
    np.testing.assert_array_equal(starts[0][1:], starts[2][:2])  # stream i of seed s is stream 0 of seed s + i


def test_there_is_nothing_to_reach_into(point, task):
    vector, _ = make(point(), task)
    assert vector.render_mode is None
    assert vector.env_is_wrapped(object) == [False] * 3
    with pytest.raises(AttributeError, match="goal"):
        vector.get_attr("goal")
