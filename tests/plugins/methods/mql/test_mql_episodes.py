"""Windows gathered by index against histories kept the plain way, and a table that drops whole episodes."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import pytest

from icrl_plugins.methods.mql.episodes import Episode, EpisodeTable, RunningEpisodes, own_table
from icrl_registry.contracts import EnvironmentSpec

OBS, A, T = 3, 2, 4
F = A + 1 + OBS


class Naive(NamedTuple):
    """A transition as the published code stores it: with both histories flattened beside it."""

    observation: np.ndarray
    action: np.ndarray
    reward: float
    next_observation: np.ndarray
    history: np.ndarray  # (T, F)
    next_history: np.ndarray  # (T, F)
    terminated: bool


def play(generator: np.random.Generator, length: int, terminated: bool) -> tuple[Episode, list[Naive]]:
    """A made-up episode, recorded both ways."""
    observations = generator.standard_normal((length + 1, OBS)).astype(np.float32)
    actions = generator.standard_normal((length, A)).astype(np.float32)
    rewards = generator.standard_normal(length).astype(np.float32)
    dummy = generator.standard_normal(A).astype(np.float32)
    running = RunningEpisodes(1, EnvironmentSpec("plain", OBS, A, 10), T)
    running.start(0, observations[0], dummy)
    before, after = (deque([np.zeros(F, np.float32)] * T, maxlen=T) for _ in range(2))
    before.append(np.concatenate([dummy, [0], observations[0]]).astype(np.float32))
    naive = []
    for t in range(length):
        entry = np.concatenate([actions[t], rewards[t : t + 1], observations[t]])
        after.append(entry)
        last = t == length - 1
        naive.append(
            Naive(
                observations[t],
                actions[t],
                rewards[t],
                observations[t + 1],
                np.stack(before),
                np.stack(after),
                terminated and last,
            )
        )
        np.testing.assert_array_equal(running.windows()[0][0], np.stack(before))
        before.append(entry)
        running.append(0, observations[t], actions[t], float(rewards[t]))
    return running.finish(0, observations[-1], terminated), naive


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(3)


def assert_holds(table: EpisodeTable, naive: list[Naive]) -> None:
    """Every transition of the table, in order, is the naive one."""
    assert table.num_transitions == len(naive)
    batch = table.batch(np.arange(len(naive))[None], T)
    for name, tensor in (
        ("observation", batch.observations),
        ("action", batch.actions),
        ("reward", batch.rewards),
        ("next_observation", batch.next_observations),
        ("terminated", batch.terminated),
        ("history", batch.histories.transpose(1, 2)),
        ("next_history", batch.next_histories.transpose(1, 2)),
    ):
        np.testing.assert_array_equal(tensor[0].numpy(), np.stack([getattr(each, name) for each in naive]), name)


def test_windows_equal_naive_histories(generator):
    table, naive = EpisodeTable(1000, A, F), []
    for length, terminated in ((7, False), (1, True), (2, False), (9, True), (3, False)):
        episode, transitions = play(generator, length, terminated)
        table.add(episode)
        naive += transitions
    assert_holds(table, naive)


def test_first_transition_sees_the_dummy_and_its_successor_does_not(generator):
    episode, naive = play(generator, 3, False)
    table = EpisodeTable(10, A, F)
    table.add(episode)
    batch = table.batch(np.array([[0]]), T)
    history, shifted = batch.histories[0, :, 0].numpy(), batch.next_histories[0, :, 0].numpy()
    assert not history[:-1].any()
    np.testing.assert_array_equal(history[-1, A + 1 :], naive[0].observation)
    assert history[-1, A] == 0
    assert not shifted[:-1].any()
    np.testing.assert_array_equal(shifted[-1, :A], naive[0].action)


@pytest.mark.parametrize("resumed_after", [None, 5, 17])
def test_a_full_table_holds_the_newest_whole_episodes(generator, resumed_after):
    capacity = 20
    table, kept = EpisodeTable(capacity, A, F), deque()
    for number in range(40):
        episode, transitions = play(generator, int(generator.integers(1, 9)), bool(generator.integers(2)))
        kept.append(transitions)
        while sum(map(len, kept)) > capacity:
            kept.popleft()
        table.add(episode, task=number)
        if number == resumed_after:
            stored, table = table.tensors(), EpisodeTable(capacity, A, F)
            table.load(stored)
        assert_holds(table, [transition for episode in kept for transition in episode])
        np.testing.assert_array_equal(table.index[2], np.arange(number + 1 - len(kept), number + 1))
    assert len(table.rows) < 200


def test_tensors_keep_the_newest_whole_episodes(generator):
    table, naive = EpisodeTable(100, A, F), []
    for length in (5, 4, 6):
        episode, transitions = play(generator, length, True)
        table.add(episode)
        naive.append(transitions)
    kept = EpisodeTable(100, A, F)
    kept.load(table.tensors(max_transitions=11))
    assert_holds(kept, naive[1] + naive[2])


def test_newest_of_task(generator):
    table = EpisodeTable(100, A, F)
    for task, length in ((0, 3), (1, 2), (0, 4), (1, 1)):
        table.add(play(generator, length, False)[0], task)
    np.testing.assert_array_equal(table.newest_of_task(0, 5), [2, 5, 6, 7, 8])
    np.testing.assert_array_equal(table.newest_of_task(1, 5), [3, 4, 9])
    assert len(table.newest_of_task(2, 5)) == 0


def test_own_table_says_where_tasks_begin(generator):
    lengths = ((3, 2), (1, 4))
    played = [[play(generator, length, False) for length in of_task] for of_task in lengths]
    table, bounds = own_table([[episode for episode, _ in of_task] for of_task in played], A)
    np.testing.assert_array_equal(bounds, [0, 5, 10])
    assert_holds(table, [each for of_task in played for _, naive in of_task for each in naive])


def test_an_episode_that_cannot_fit_is_refused(generator):
    with pytest.raises(ValueError, match="7 transitions, expected 1 to 5"):
        EpisodeTable(5, A, F).add(play(generator, 7, False)[0])
