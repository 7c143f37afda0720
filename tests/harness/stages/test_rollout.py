"""The loop in which agents meet tasks, on a scripted environment: what is metered, recorded, shown and refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from icrl_bench.seeding import reset_seed
from icrl_bench.stages.rollout import Meter, MeteredBatch, RolloutResult, rollout
from icrl_registry.contracts import AdaptationSetting, BatchedStep, EnvironmentSpec, Task
from icrl_registry.errors import NumericalError, PluginError

SPEC = EnvironmentSpec("scripted-v1", observation_size=2, action_size=2, horizon=5)
LENGTHS = [[2, 3, 1], [5, 1, 4], [1, 1, 1]]  # (K, E) steps of each episode
TERMINATES = [[True, False, True], [False, True, True], [True, True, False]]
TASKS = [Task((float(row),), "test", row) for row in range(3)]


class ScriptedBatch:
    """Row k's episode e lasts LENGTHS[k][e] steps; step t (from 1) pays 100 k + 10 e + t; observations tell where one is."""

    def __init__(self, breaks: tuple[str, int, int, int] | None = None) -> None:
        self.num_tasks = 3
        self.breaks = breaks  # (what, row, episode, step)
        self.episode = [-1, -1, -1]
        self.t = [0, 0, 0]
        self.resets: list[tuple[int, int]] = []
        self.stepped: list[list[int]] = []
        self.actions: list[np.ndarray] = []
        self.observations = np.zeros((3, 2), np.float32)

    def reset(self, row: int, seed: int) -> np.ndarray:
        self.resets.append((row, seed))
        self.episode[row] += 1
        self.t[row] = 0
        self.observations[row] = (-1 - self.episode[row], row)
        if self.breaks == ("reset", row, self.episode[row], 0):
            self.observations[row] = np.inf
        return self.observations[row].copy()

    def step(self, actions: np.ndarray, active: np.ndarray) -> BatchedStep:
        rows = [int(row) for row in np.flatnonzero(active)]
        self.stepped.append(rows)
        self.actions.append(actions.copy())
        rewards = np.zeros(3, np.float32)
        terminated, truncated = np.zeros(3, np.bool_), np.zeros(3, np.bool_)
        for row in rows:
            self.t[row] += 1
            episode, t = self.episode[row], self.t[row]
            rewards[row] = 100 * row + 10 * episode + t
            self.observations[row] = (10 * episode + t, row)
            if t == LENGTHS[row][episode]:
                (terminated if TERMINATES[row][episode] else truncated)[row] = True
            if self.breaks is not None and self.breaks[1:] == (row, episode, t - 1):
                if self.breaks[0] == "reward":
                    rewards[row] = np.nan
                if self.breaks[0] == "observation":
                    self.observations[row, 1] = -np.inf
        return BatchedStep(self.observations.copy(), rewards, terminated, truncated)

    def close(self) -> None: ...


class Listener:
    """Acts with what it is given and remembers everything that it was shown."""

    def __init__(self, act: Any = lambda observations: np.zeros((3, 2), np.float32)) -> None:
        self.choose = act
        self.seen: list[Any] = []
        self.asked: list[np.ndarray] = []

    def begin(self, setting: AdaptationSetting) -> None:
        self.setting = setting

    def act(self, observations: np.ndarray) -> Any:
        self.asked.append(observations.copy())
        return self.choose(observations)

    def observe(self, transitions: Any) -> None:
        copied = {field.name: np.array(getattr(transitions, field.name)) for field in dataclasses.fields(transitions)}
        self.seen.append(dataclasses.replace(transitions, **copied))


def play(agent: Any, batch: Any, episodes: int = 3, **keywords: Any) -> RolloutResult:
    setting = AdaptationSetting(3, episodes, "online", np.random.SeedSequence(0))
    return rollout(agent, batch, SPEC, TASKS, setting, lambda task, episode: 1000 * task.index + episode, **keywords)


def test_returns_and_lengths_are_exact():
    outcome = play(Listener(), ScriptedBatch())
    expected = [
        [sum(100 * k + 10 * e + t for t in range(1, n + 1)) for e, n in enumerate(lengths)]
        for k, lengths in enumerate(LENGTHS)
    ]
    assert outcome.returns.tolist() == expected
    assert outcome.returns.dtype == np.float64
    assert outcome.lengths.tolist() == LENGTHS


def test_the_rewards_of_the_first_episodes_stand_step_by_step():
    """By hand: task 0 plays 2, 3 and 1 steps, task 1 5, 1 and 4, task 2 one step an episode; three tasks share each sum."""
    outcome = play(Listener(), ScriptedBatch())
    first = [(1 + 101 + 201) / 3, (2 + 102) / 3, 103 / 3, 104 / 3, 105 / 3]
    second = [(11 + 111 + 211) / 3, 12 / 3, 13 / 3, 0, 0]
    third = [(21 + 121 + 221) / 3, 122 / 3, 123 / 3, 124 / 3, 0]
    np.testing.assert_allclose(outcome.step_rewards, [first, second, third], rtol=1e-12)
    np.testing.assert_allclose(outcome.step_rewards.sum(axis=1), outcome.returns.mean(axis=0), rtol=1e-12)
    assert play(Listener(), ScriptedBatch(), episodes=2).step_rewards.shape == (2, 5)


def test_the_meter_counts_every_step_of_active_tasks_and_no_other():
    meter, batch, reported = Meter(), ScriptedBatch(), []
    play(Listener(), MeteredBatch(batch, meter), report_steps=reported.append)
    assert meter.steps == sum(map(sum, LENGTHS)) == sum(reported)
    for row in range(3):
        assert [row in rows for rows in batch.stepped] == [t < sum(LENGTHS[row]) for t in range(10)]


def test_meters_share_counters_by_name():
    counters = {"online": 5}
    meter = Meter(counters, "online")
    meter.add(3)
    Meter(counters, "other").add(2)
    assert (meter.steps, counters) == (8, {"online": 8, "other": 2})


def test_every_episode_starts_from_its_own_seed_once():
    batch = ScriptedBatch()
    play(Listener(), batch)
    assert sorted(batch.resets) == [(row, 1000 * row + episode) for row in range(3) for episode in range(3)]


def test_what_the_agent_sees():
    agent = Listener()
    play(agent, ScriptedBatch())
    for row in range(3):
        steps = [(episode, t) for episode, length in enumerate(LENGTHS[row]) for t in range(length)]
        for moment, (episode, t) in enumerate(steps):
            seen = agent.seen[moment]
            first = -1 - episode if t == 0 else 10 * episode + t  # at an episode's start the reset observation
            last = t + 1 == LENGTHS[row][episode]
            assert agent.asked[moment][row].tolist() == [first, row]
            assert seen.observations[row].tolist() == [first, row]
            assert seen.next_observations[row].tolist() == [10 * episode + t + 1, row]  # also at an episode's end
            assert seen.rewards[row] == 100 * row + 10 * episode + t + 1
            assert seen.terminated[row] == (last and TERMINATES[row][episode])
            assert seen.truncated[row] == (last and not TERMINATES[row][episode])
            assert seen.active[row]
        assert not any(seen.active[row] for seen in agent.seen[len(steps) :])
    assert agent.setting.num_episodes == 3


def test_shuffled_rewards_are_those_of_tasks_still_played():
    agent = Listener()
    with pytest.warns(UserWarning, match="one task is left"):
        play(agent, ScriptedBatch(), rewards="shuffled")
    numbers = {int(seen.active.sum()) for seen in agent.seen}
    assert numbers == {1, 2, 3}
    for seen in agent.seen:  # a task's own rewards begin with its number times 100
        shown = seen.rewards[seen.active]
        own = np.flatnonzero(seen.active)
        if len(own) == 1:
            assert shown.tolist() == [0.0]
        else:
            assert (shown // 100).tolist() == np.roll(own, 1).tolist()
            assert shown.all()


@pytest.mark.filterwarnings("ignore:adapt.rewards=shuffled")
@pytest.mark.parametrize("view", ["true", "shuffled", "zero"])
def test_a_view_of_rewards_changes_what_is_shown_and_not_what_is_recorded(view: str):
    agent = Listener()
    outcome = play(agent, ScriptedBatch(), rewards=view)
    truth = Listener()
    assert outcome.returns.tolist() == play(truth, ScriptedBatch()).returns.tolist()
    for seen, true in zip(agent.seen, truth.seen, strict=True):
        swapped = np.zeros(3)
        if true.active.sum() > 1:  # among the tasks still played
            swapped[true.active] = np.roll(true.rewards[true.active], 1)
        expected = {"true": true.rewards, "shuffled": swapped, "zero": np.zeros(3)}[view]
        assert seen.rewards.tolist() == expected.tolist()
        assert seen.next_observations.tolist() == true.next_observations.tolist()


def test_actions_are_clipped_before_anybody_sees_them():
    agent, batch = Listener(lambda _: [[5.0, -0.5], [-2.0, 1.0], [0.25, -1.0]]), ScriptedBatch()
    play(agent, batch)
    expected = [[1.0, -0.5], [-1.0, 1.0], [0.25, -1.0]]
    assert all(actions.tolist() == expected and actions.dtype == np.float32 for actions in batch.actions)
    assert all(seen.actions.tolist() == expected for seen in agent.seen)


def test_an_agent_that_writes_into_its_arrays_changes_nothing_that_is_recorded():
    class Vandal(Listener):
        def observe(self, transitions: Any) -> None:
            for field in dataclasses.fields(transitions):
                getattr(transitions, field.name)[:] = 0

    outcome = play(Vandal(), ScriptedBatch())
    assert outcome.lengths.tolist() == LENGTHS
    assert outcome.returns.tolist() == play(Listener(), ScriptedBatch()).returns.tolist()


@pytest.mark.parametrize(
    ("what", "words"),
    [("reward", "reward"), ("observation", "observation"), ("reset", "reset observation")],
)
def test_what_is_not_finite_fails_with_task_episode_and_step(what: str, words: str):
    step = 0 if what == "reset" else 2
    batch = ScriptedBatch((what, 1, 2, step))
    with pytest.raises(NumericalError) as caught:
        play(Listener(), batch)
    assert caught.value.message == f"{words} is not finite: task test-001, episode 2, step {step}"


def test_a_first_reset_that_is_not_finite_is_found():
    with pytest.raises(NumericalError, match="reset observation is not finite: task test-002, episode 0, step 0"):
        play(Listener(), ScriptedBatch(("reset", 2, 0, 0)))


def test_an_action_that_is_not_finite_fails_with_its_place():
    def act(observations: np.ndarray) -> np.ndarray:
        actions = np.zeros((3, 2))
        actions[0, 1] = np.nan if observations[0].tolist() == [11, 0] else 0  # after the first step of episode 1
        return actions

    with pytest.raises(NumericalError, match="action is not finite: task test-000, episode 1, step 1"):
        play(Listener(act), ScriptedBatch())


def test_actions_for_finished_tasks_do_not_matter():
    class Careless(Listener):
        def act(self, observations: np.ndarray) -> np.ndarray:
            actions = np.zeros((3, 2))
            if self.seen and not self.seen[-1].active[2]:
                actions[2] = np.nan
            return actions

    assert play(Careless(), ScriptedBatch()).lengths.tolist() == LENGTHS


@pytest.mark.parametrize(
    "actions",
    [
        np.zeros((3, 1)),
        np.zeros((3, 3)),
        np.zeros((2, 2)),
        np.zeros(3),
        np.zeros((3, 2, 1)),
        0.0,
        None,
        [[0.0], [0.0, 1.0], [0.0, 1.0]],
        "left",
        torch.zeros((3, 2), requires_grad=True),
    ],
    ids=lambda actions: type(actions).__name__ + str(getattr(actions, "shape", "")),
)
def test_actions_that_are_none_are_a_plugins_fault(actions: Any):
    batch = ScriptedBatch()
    with pytest.raises(PluginError) as caught:
        play(Listener(lambda _: actions), batch)
    assert caught.value.exit_code == 4
    assert "(K, A)" in caught.value.hint
    assert batch.stepped == []


def test_reset_seeds_are_everybodys():
    """They depend on protocol, task and episode: not on the method, the run's seed or the order of calls."""
    seeds = {
        (data_seed, task.split, task.index, episode): reset_seed(data_seed, task, episode)
        for data_seed in (0, 1)
        for task in [*TASKS, Task((0.0,), "validation", 0)]
        for episode in range(3)
    }
    assert len(set(seeds.values())) == len(seeds)
    assert reset_seed(0, TASKS[1], 2) == seeds[(0, "test", 1, 2)]
    assert reset_seed(0, Task((9.0,), "test", 1), 2) == seeds[(0, "test", 1, 2)]
    assert all(0 <= seed < 2**32 for seed in seeds.values())


def test_of_discrete_actions_the_largest_is_executed_and_shown():
    class Scores:
        def begin(self, setting):
            self.shown = []

        def act(self, observations):
            return np.array([[0.2, 7.0], [-1.0, -3.0], [0.5, 0.5]])

        def observe(self, transitions):
            self.shown.append(transitions.actions.copy())

    agent, batch = Scores(), ScriptedBatch()
    setting = AdaptationSetting(3, 3, "online", np.random.SeedSequence(0))
    rollout(agent, batch, dataclasses.replace(SPEC, actions="discrete"), TASKS, setting, lambda task, episode: 0)
    expected = [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]
    assert all(actions.tolist() == expected for actions in [*batch.actions, *agent.shown])
