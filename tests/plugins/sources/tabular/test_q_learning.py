"""Tabular Q-learning against dynamic programming, and its histories against the contract."""

from __future__ import annotations

import numpy as np
import pytest

from icrl_plugins.environments.grid_worlds.dark_room import DarkRoom
from icrl_plugins.sources.tabular.q_learning import QLearners, QLearning, QLearningConfig
from icrl_registry.actions import one_hot
from icrl_registry.configuration import build_config
from icrl_registry.contracts import EnvironmentSpec, Task
from icrl_registry.discovery import load
from icrl_registry.errors import UsageError
from icrl_registry.testing.conformance import run_checks

SPEC = EnvironmentSpec("chain-v1", 1, 2, 10, "discrete", (3,))


class Recorded:
    """What a learner reads of a recorder, written by hand: one row, steps (observation, action, reward, next one, ended)."""

    def __init__(self, *steps: tuple[int, int, float, int, str]) -> None:
        first, chosen, rewards, following, ended = zip(*steps, strict=True)
        self.observations = np.array(first, np.float32)[None, :, None]
        self.actions = one_hot(np.array(chosen), 2)[None]
        self.rewards = np.array(rewards, np.float32)[None]
        self.next_observations = np.array(following, np.float32)[None, :, None]
        self.terminated = np.array([[float(each == "terminated") for each in ended]], np.float32)
        self.truncated = np.array([[each == "truncated" for each in ended]])
        self.steps_taken = 0

    def teach(self, learners: QLearners) -> None:
        for _ in range(self.rewards.shape[1]):
            self.steps_taken += 1
            learners.learn(self)


def learners(**settings) -> QLearners:
    config = QLearningConfig(num_envs=1, **settings)
    return QLearners(SPEC, config, [np.random.SeedSequence(0)])


def test_it_keeps_the_contract():
    failed = [result for result in run_checks(load("source", "q-learning"), {"total_steps": 400}) if not result.passed]
    assert not failed


def test_an_update_is_watkins():
    table = learners(learning_rate=0.25, discount=0.8, initial_value=1.0)
    table.values[0, 2] = [3.0, 5.0]
    Recorded((0, 1, 2.0, 2, "")).teach(table)
    assert table.values[0, 0].tolist() == [1.0, pytest.approx(1.0 + 0.25 * (2.0 + 0.8 * 5.0 - 1.0))]
    Recorded((0, 0, 2.0, 2, "terminated")).teach(table)
    assert table.values[0, 0, 0] == pytest.approx(1.0 + 0.25 * (2.0 - 1.0))


@pytest.mark.parametrize(("replays", "first"), [(0, 0.0), (1, 0.9**2), (3, 0.9**2)])
def test_an_episode_learned_again_backwards_reaches_its_begin_at_once(replays: int, first: float):
    table = learners(learning_rate=1.0, discount=0.9, replays=replays)
    Recorded((0, 1, 0.0, 1, ""), (1, 1, 0.0, 2, ""), (2, 0, 1.0, 2, "terminated")).teach(table)
    assert table.values[0, 2, 0] == pytest.approx(1.0)
    assert table.values[0, 0, 1] == pytest.approx(first)


def test_what_is_learned_again_is_the_episode_that_ended_alone():
    """The first episode's step from 1 is not told what the second one finds at 2."""
    table = learners(learning_rate=1.0, discount=0.9, replays=1)
    Recorded((1, 1, 0.0, 2, "truncated"), (0, 1, 0.0, 2, ""), (2, 0, 1.0, 0, "truncated")).teach(table)
    assert table.values[0, 1, 1] == 0.0
    assert table.values[0, 0, 1] == pytest.approx(0.9 * table.values[0, 2, 0])


def test_actions_are_random_at_first_and_the_best_at_last():
    config = QLearningConfig(total_steps=100, num_envs=1, random_fraction=0.5, first_epsilon=0.8)
    assert [config.epsilon(step) for step in (0, 25, 50, 99)] == [0.8, pytest.approx(0.4), 0.0, 0.0]
    table = learners(first_epsilon=1.0)
    table.values[0, 1] = [0.0, 1.0]
    at_one = np.array([[1.0]], np.float32)
    explored = [int(table.act(at_one, 1.0)[0][0]) for _ in range(400)]
    assert 0.4 < np.mean(explored) < 0.6
    assert {int(table.act(at_one, 0.0)[0][0]) for _ in range(50)} == {1}


def test_of_equal_actions_any_is_taken():
    table = learners()
    taken = [int(table.act(np.array([[0.0]], np.float32), 0.0)[0][0]) for _ in range(400)]
    assert 0.4 < np.mean(taken) < 0.6


def test_every_learner_of_a_task_ends_in_the_best_policy_that_distance_allows():
    room = DarkRoom(DarkRoom.Config())
    goals = [(0.0, 8.0), (4.0, 4.0), (6.0, 3.0)]
    settings = {"total_steps": 6400, "num_envs": 4, "learning_rate": 1.0, "initial_value": 6.0, "replays": 1}
    source = QLearning(build_config(QLearningConfig, {**settings, "first_epsilon": 0.1}, "source"))
    seeds = np.random.SeedSequence(1).spawn(3)
    for goal, run in zip(
        goals, source.collect(room, [Task(goal) for goal in goals], seeds, lambda n: None), strict=True
    ):
        distance = abs(goal[0] - 4) + abs(goal[1] - 4)
        best = 20 if distance == 0 else 21 - distance
        last = [run.history.episode_returns(stream)[-5:].mean() for stream in range(4)]
        assert max(last) == best
        assert np.mean(last) > 0.9 * best
        assert run.statistics["greedy_return"] == best
        first = np.mean([run.history.episode_returns(stream)[:5].mean() for stream in range(4)])
        assert distance == 0 or first < 0.5 * best


def test_its_policy_comes_back_from_the_table():
    room = DarkRoom(DarkRoom.Config())
    source = QLearning(QLearningConfig(total_steps=3200, num_envs=4, learning_rate=1.0, initial_value=6.0))
    (run,) = source.collect(room, [Task((6.0, 4.0))], [np.random.SeedSequence(0)], lambda n: None)
    policy = source.greedy_policy(run.policy, room.spec)
    seen = np.array([[4.0, 4.0], [5.0, 4.0], [6.0, 4.0]], np.float32)
    assert policy(seen).tolist() == one_hot(np.array([2, 2, 0]), 5).tolist()
    with pytest.raises(UsageError, match="not a table"):
        source.greedy_policy({"policy.values": np.zeros((5, 5))}, room.spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (EnvironmentSpec("arm-v1", 2, 2, 10, "discrete"), "doesn't say how many"),
        (EnvironmentSpec("huge-v1", 9, 2, 10, "discrete", (10,) * 9), "2,000,000,000"),
    ],
)
def test_without_a_table_there_is_no_learner(spec: EnvironmentSpec, words: str):
    with pytest.raises(UsageError, match=words):
        QLearners(spec, QLearningConfig(), [np.random.SeedSequence(0)])
