"""`make_batch` gives the numbers of `make`, row by row and bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from icrl_plugins.environments.ant_dir import AntDir
from icrl_registry.batching import SequentialBatch
from icrl_registry.contracts import Task

NUM_TASKS = 5


def assert_equal_steps(first, second):
    for name in ("observations", "rewards", "terminated", "truncated"):
        one, other = getattr(first, name), getattr(second, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other, err_msg=name)


def test_batch_equals_one_gymnasium_environment_a_task(family, draw_tasks):
    """Over more than an episode: rows end at different times, are reset with new seeds, and some pause."""
    tasks = draw_tasks(family, NUM_TASKS)
    batch, single = family.make_batch(tasks), SequentialBatch([family.make(task) for task in tasks])
    rng = np.random.default_rng(0)
    assert batch.num_tasks == NUM_TASKS
    for row in range(NUM_TASKS):
        np.testing.assert_array_equal(batch.reset(row, seed=row), single.reset(row, seed=row))
    episodes = 0
    for step in range(family.horizon + 20):
        active = rng.uniform(size=NUM_TASKS) < 0.9
        actions = rng.uniform(-1.2, 1.2, (NUM_TASKS, family.action_size)).astype(np.float32)
        result, expected = batch.step(actions, active), single.step(actions, active)
        assert_equal_steps(result, expected)
        for row in np.flatnonzero(result.terminated | result.truncated):
            seed = 1000 + step * NUM_TASKS + int(row)
            np.testing.assert_array_equal(batch.reset(int(row), seed), single.reset(int(row), seed))
            episodes += 1
    assert episodes > 0
    batch.close()
    single.close()


def test_a_row_does_not_depend_on_the_others(family, draw_tasks):
    tasks = draw_tasks(family, 3)
    together, alone = family.make_batch(tasks), family.make_batch(tasks[1:2])
    rng = np.random.default_rng(1)
    for row in range(3):
        together.reset(row, seed=row)
    alone.reset(0, seed=1)
    for _ in range(20):
        actions = rng.uniform(-1, 1, (3, family.action_size)).astype(np.float32)
        all_rows = together.step(actions, np.ones(3, dtype=np.bool_))
        one_row = alone.step(actions[1:2], np.ones(1, dtype=np.bool_))
        np.testing.assert_array_equal(all_rows.observations[1], one_row.observations[0])
        assert all_rows.rewards[1] == one_row.rewards[0]


def test_inactive_rows_hold_their_last_observation_and_zeros(family, draw_tasks):
    batch = family.make_batch(draw_tasks(family, 2))
    batch.reset(0, seed=0)
    held = batch.reset(1, seed=1)
    step = batch.step(np.zeros((2, family.action_size), dtype=np.float32), np.array([True, False]))
    np.testing.assert_array_equal(step.observations[1], held)
    assert step.rewards[0] != 0
    assert step.rewards[1] == 0
    assert not step.truncated.any()


def test_a_step_with_no_active_row_changes_nothing(family, draw_tasks):
    batch = family.make_batch(draw_tasks(family, 2))
    held = np.stack([batch.reset(row, seed=row) for row in range(2)])
    step = batch.step(np.ones((2, family.action_size), dtype=np.float32), np.zeros(2, dtype=np.bool_))
    np.testing.assert_array_equal(step.observations, held)
    for answer in (step.rewards, step.terminated, step.truncated):
        assert not answer.any()


def test_results_are_not_overwritten_by_the_next_step(family, draw_tasks):
    batch = family.make_batch(draw_tasks(family, 1))
    batch.reset(0, seed=0)
    active = np.ones(1, dtype=np.bool_)
    first = batch.step(np.ones((1, family.action_size), dtype=np.float32), active)
    kept = first.observations.copy()
    batch.step(-np.ones((1, family.action_size), dtype=np.float32), active)
    np.testing.assert_array_equal(first.observations, kept)


def test_bad_calls_are_refused(family, draw_tasks):
    batch = family.make_batch(draw_tasks(family, 2))
    active = np.ones(2, dtype=np.bool_)
    zeros = np.zeros((2, family.action_size), dtype=np.float32)
    with pytest.raises(ValueError, match="before its first reset"):
        batch.step(zeros, active)
    batch.reset(0, seed=0)
    batch.reset(1, seed=0)
    with pytest.raises(ValueError, match="shape"):
        batch.step(zeros[:, :1], active)
    zeros[1, 0] = np.nan
    with pytest.raises(ValueError, match="must be finite"):
        batch.step(zeros, active)
    assert not batch.step(zeros, np.array([True, False])).truncated.any()  # a NaN for an inactive row is not looked at
    with pytest.raises(ValueError, match="at least one task"):
        family.make_batch([])
    with pytest.raises(ValueError, match="not finite"):
        family.make_batch([Task((np.inf,) * len(family.task_parameter_names))])


def test_only_a_terminating_family_terminates(family, draw_tasks):
    batch = family.make_batch(draw_tasks(family, 4))
    rng = np.random.default_rng(0)
    active = np.ones(4, dtype=np.bool_)
    for row in range(4):
        batch.reset(row, seed=row)
    ended = np.zeros(4, dtype=np.bool_)
    for _ in range(family.horizon):
        step = batch.step(rng.uniform(-1, 1, (4, family.action_size)).astype(np.float32), active & ~ended)
        ended |= step.terminated
    assert ended.any() == isinstance(family, AntDir)


def test_a_saved_batch_goes_on_bit_by_bit(family, draw_tasks):
    """In contact, in the midst of episodes of different ages, in the same batch and in a new one; over resets."""
    tasks = draw_tasks(family, 3)
    batch, other = family.make_batch(tasks), family.make_batch(tasks)
    actions = np.random.default_rng(2).uniform(-1, 1, (family.horizon + 40, 3, family.action_size)).astype(np.float32)

    def play(played, chosen):
        steps = []
        for action in chosen:
            steps.append(played.step(action, np.ones(3, dtype=np.bool_)))
            for row in np.flatnonzero(steps[-1].terminated | steps[-1].truncated):
                played.reset(int(row), seed=int(row))
        return steps

    for row in range(3):
        batch.reset(row, seed=row)
    play(batch, actions[:10])
    batch.reset(1, seed=7)
    play(batch, actions[10:30])
    saved = {name: values.copy() for name, values in batch.save().items()}
    expected = play(batch, actions[30:])
    for again in (batch, other):
        again.restore(saved)
        for first, second in zip(expected, play(again, actions[30:]), strict=True):
            assert_equal_steps(first, second)
    with pytest.raises(ValueError, match="a batch of 2 tasks"):
        family.make_batch(tasks[:2]).restore(saved)
