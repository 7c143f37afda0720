"""The recorder against the environment itself: replaying what was recorded must give what was recorded."""

from __future__ import annotations

import numpy as np
import pytest

from icrl_plugins.randomness.seeds import draw_episode_seed, episode_seeds
from icrl_plugins.sources.recording import HistoryRecorder
from icrl_plugins.sources.stable_baselines3.ppo import Sb3PPO, Sb3PPOConfig
from icrl_plugins.sources.stable_baselines3.sac import Sb3SAC, Sb3SACConfig
from icrl_registry.errors import NumericalError

PPO = Sb3PPO(Sb3PPOConfig(total_steps=203, num_envs=3, rollout_length=20, batch_size=30, log_std_init=1.0))
SAC = Sb3SAC(Sb3SACConfig(total_steps=203, num_envs=3, hidden_sizes=(8,), batch_size=8, learning_starts=30))
SOURCES = pytest.mark.parametrize("source", [PPO, SAC], ids=["ppo", "sac"])
WALL = 0.45  # metres; near enough to end many episodes early


def replay(environment, task, run, stream):
    """Steps a fresh environment with the recorded actions; yields (t, observation, reward, next observation, ends)."""
    seeds = episode_seeds(int(run.statistics["stream_seed"]) + stream)
    env = environment.make(task)
    observation, _ = env.reset(seed=draw_episode_seed(seeds))
    for t, action in enumerate(run.history.actions[stream]):
        successor, reward, terminated, truncated, _ = env.step(action)
        yield t, observation, reward, successor, terminated, truncated
        observation = env.reset(seed=draw_episode_seed(seeds))[0] if terminated or truncated else successor


@SOURCES
@pytest.mark.parametrize("wall", [np.inf, WALL], ids=["open", "walled"])
def test_replaying_the_actions_gives_the_recorded_history(source, wall, point, task, collect):
    environment = point(horizon=7, wall=wall)
    (run,) = collect(source, environment, [task], [5])
    history = run.history
    assert history.observations.shape == (3, 67, 1)
    for stream in range(3):
        for t, observation, reward, successor, terminated, truncated in replay(environment, task, run, stream):
            np.testing.assert_array_equal(history.observations[stream, t], observation)
            np.testing.assert_array_equal(history.next_observations[stream, t], successor)
            assert history.rewards[stream, t] == np.float32(reward)
            assert history.terminated[stream, t] == terminated
            assert history.truncated[stream, t] == truncated
    assert history.terminated.any() == (wall == WALL)
    assert history.truncated.any()


@SOURCES
def test_the_last_observation_of_an_episode_is_the_terminal_one(source, point, task, collect):
    (run,) = collect(source, point(horizon=7, wall=WALL), [task], [5])
    history = run.history
    beyond_the_wall = np.abs(history.next_observations[..., 0]) > WALL
    np.testing.assert_array_equal(beyond_the_wall, history.terminated)
    assert not (np.abs(history.observations[..., 0]) > WALL).any()
    ends = history.terminated | history.truncated
    continues = ~ends[:, :-1]
    np.testing.assert_array_equal(history.observations[:, 1:][continues], history.next_observations[:, :-1][continues])
    assert (np.abs(history.observations[:, 1:][~continues]) <= 0.1).all()  # every reset draws from U(±0.1)


def test_actions_are_those_executed(point, task, collect):
    (run,) = collect(PPO, point(), [task], [5])
    actions = run.history.actions
    assert np.abs(actions).max() == 1.0  # exp(1) as standard deviation: many samples lie outside
    assert 0.2 < (np.abs(actions) == 1.0).mean() < 0.9


def recorder_of(environment, task, num_streams=1, num_steps=2):
    recorder = HistoryRecorder(environment.make_batch([task] * num_streams), [task], environment.spec, num_steps)
    for stream in range(num_streams):
        recorder.reset(stream, seed=stream)
    return recorder


def test_a_stream_holds_neither_more_nor_fewer_steps_than_it_should(point, task):
    recorder = recorder_of(point(), task)
    recorder.step(np.zeros((1, 1), np.float32))
    with pytest.raises(RuntimeError, match=r"train-003 has 1 steps a stream, expected 2"):
        recorder.history()
    recorder.step(np.zeros((1, 1), np.float32))
    recorder.history()
    with pytest.raises(RuntimeError, match="train-003 was stepped beyond its 2 steps"):
        recorder.step(np.zeros((1, 1), np.float32))


def test_an_action_outside_the_bounds_is_clipped_before_it_is_executed_and_recorded(point, task):
    recorder = recorder_of(point(), task, num_streams=2)
    start = recorder.reset(0, seed=0)
    step = recorder.step(np.array([[2.5], [-7.0]]))
    np.testing.assert_array_equal(recorder.actions[:, 0, 0], [1.0, -1.0])
    np.testing.assert_allclose(step.observations[0], start + 0.2, rtol=1e-6)


@pytest.mark.parametrize("what", ["reward", "observation"])
def test_a_number_that_is_not_finite_is_refused_with_its_place(what, point, task, collect):
    # Step 24 of a stream is step 3, counted from 0, of its episode 2: both before it had ten steps.
    with pytest.raises(NumericalError, match=rf"train-003, stream 0, episode 2, step 3: the {what} is"):
        collect(PPO, point(horizon=10, broken={what: 24}), [task], [0])


def test_an_action_that_is_not_finite_is_refused_before_it_is_executed(point, task):
    recorder = recorder_of(point(), task, num_streams=3)
    actions = np.zeros((3, 1), np.float32)
    recorder.step(actions)
    actions[1] = np.nan
    with pytest.raises(NumericalError, match="stream 1, episode 0, step 1: the policy's action is"):
        recorder.step(actions)
    assert recorder.steps_taken == 1
