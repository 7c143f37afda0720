"""Gymnasium environments behind the batched contract."""

from __future__ import annotations

import numpy as np
import pytest

from icrl_registry.batching import SequentialBatch
from icrl_registry.testing.toy import ToyPoint, ToyPointConfig, reward_at


@pytest.fixture
def environment() -> ToyPoint:
    return ToyPoint(ToyPointConfig(horizon=3))


def test_each_row_is_its_own_environment(environment: ToyPoint):
    tasks = environment.tasks(3)
    batch = environment.make_batch(tasks)
    assert isinstance(batch, SequentialBatch)
    alone = [environment.make(task) for task in tasks]
    first = np.stack([batch.reset(row, seed=10 + row) for row in range(3)])
    expected = np.stack([single.reset(seed=10 + row)[0] for row, single in enumerate(alone)])
    np.testing.assert_array_equal(first, expected, strict=True)
    generator = np.random.default_rng(0)
    for t in range(3):
        actions = generator.uniform(-1, 1, (3, 2)).astype(np.float32)
        step = batch.step(actions, np.ones(3, np.bool_))
        singles = [single.step(actions[row]) for row, single in enumerate(alone)]
        np.testing.assert_array_equal(step.observations, np.stack([single[0] for single in singles]), strict=True)
        np.testing.assert_array_equal(
            step.rewards, np.array([single[1] for single in singles], np.float32), strict=True
        )
        assert step.terminated.tolist() == [False] * 3
        assert step.truncated.tolist() == [t == 2] * 3
    batch.close()


def test_inactive_rows_are_not_stepped(environment: ToyPoint):
    tasks = environment.tasks(2)
    batch = environment.make_batch(tasks)
    for row in range(2):
        batch.reset(row, seed=row)
    actions = np.ones((2, 2), np.float32)
    moved = batch.step(actions, np.array([True, True]))
    step = batch.step(actions, np.array([True, False]))
    np.testing.assert_array_equal(step.observations[1], moved.observations[1])
    assert step.rewards[1] == 0
    assert step.rewards[0] == pytest.approx(reward_at(step.observations[0], np.asarray(tasks[0].parameters)))
    batch.step(actions, np.array([True, False]))
    assert batch.step(actions, np.array([False, True])).truncated.tolist() == [False, False]  # its second step


def test_what_was_returned_stays(environment: ToyPoint):
    """A caller may keep or change what it got; the next step must not change it, nor be changed by it."""
    batch = environment.make_batch(environment.tasks(1))
    reset = batch.reset(0, seed=0)
    kept = reset.copy()
    first = batch.step(np.ones((1, 2), np.float32), np.ones(1, np.bool_))
    np.testing.assert_array_equal(reset, kept)
    before = first.observations.copy()
    first.observations[:] = 99
    second = batch.step(np.zeros((1, 2), np.float32), np.zeros(1, np.bool_))
    np.testing.assert_array_equal(second.observations, before)


def test_a_row_starts_anew_while_others_go_on(environment: ToyPoint):
    batch = environment.make_batch(environment.tasks(2))
    start = batch.reset(0, seed=5)
    batch.reset(1, seed=6)
    active = np.ones(2, np.bool_)
    going = batch.step(np.ones((2, 2), np.float32), active).observations[1]
    np.testing.assert_array_equal(batch.reset(0, seed=5), start)
    step = batch.step(np.zeros((2, 2), np.float32), active)
    np.testing.assert_array_equal(step.observations, np.stack([start, going]))


def test_successes_are_those_of_the_episodes_that_ended(environment: ToyPoint):
    class Measured:
        """Ends after `length` steps with its length as the measure."""

        def __init__(self, inner, length: int) -> None:
            self.inner, self.length, self.steps = inner, length, 0
            self.observation_space, self.action_space = inner.observation_space, inner.action_space

        def reset(self, *, seed=None):
            return self.inner.reset(seed=seed)

        def step(self, action):
            self.steps += 1
            observation, reward, *_ = self.inner.step(action)
            ended = self.steps == self.length
            return observation, reward, ended, False, {"success": self.length / 8} if ended else {}

    batch = SequentialBatch(
        [Measured(environment.make(task), 1 + row) for row, task in enumerate(environment.tasks(3))]
    )
    for row in range(3):
        batch.reset(row, seed=row)
    actions, active = np.zeros((3, 2), np.float32), np.array([False, True, True])
    assert batch.step(actions, active).successes is None
    found = batch.step(actions, active).successes
    np.testing.assert_array_equal(found, np.array([np.nan, 0.25, np.nan], np.float32), strict=True)
