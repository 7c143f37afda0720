"""Discrete actions as rows: which one a row chooses, what is executed of it, and how a Gymnasium environment is given it."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from icrl_registry.actions import action_numbers, executed, for_gymnasium, one_hot
from icrl_registry.batching import SequentialBatch
from icrl_registry.contracts import EnvironmentSpec
from icrl_registry.testing.toy_grid import ToyGrid

CONTINUOUS = EnvironmentSpec("arm-v1", 2, 3, 10)
DISCRETE = EnvironmentSpec("grid-v1", 2, 3, 10, "discrete")


def test_an_environment_has_continuous_actions_and_endless_observations_unless_it_says_otherwise():
    assert (CONTINUOUS.actions, CONTINUOUS.observation_values) == ("continuous", ())


def test_rows_and_numbers_are_two_ways_to_write_an_action():
    numbers = np.array([[2, 0], [1, 1]])
    rows = one_hot(numbers, 3)
    assert rows.shape == (2, 2, 3)
    assert rows.dtype == np.float32
    assert (rows.sum(axis=-1) == 1).all()
    assert (action_numbers(rows) == numbers).all()


@pytest.mark.parametrize(("row", "chosen"), [([-3.0, 9.0, 2.0], 1), ([0.5, 0.5, 0.1], 0), ([0.0, 0.0, 0.0], 0)])
def test_the_largest_number_is_executed_and_of_equals_the_first(row: list[float], chosen: int):
    assert executed(np.array([row], np.float32), DISCRETE).tolist() == [[float(i == chosen) for i in range(3)]]


def test_continuous_actions_are_clipped():
    given = np.array([[-3.0, 0.25, 2.0]], np.float32)
    assert executed(given, CONTINUOUS).tolist() == [[-1.0, 0.25, 1.0]]


def test_gymnasium_gets_a_number_or_the_row():
    row = np.array([0.0, 0.0, 1.0], np.float32)
    assert for_gymnasium(row, Discrete(3)) == 2
    assert for_gymnasium(row, Box(-1, 1, (3,))) is row


def test_a_batch_of_gymnasium_environments_takes_rows():
    toy = ToyGrid()
    tasks = toy.tasks(2)
    batch = SequentialBatch([toy.make(task) for task in tasks])
    starts = np.stack([batch.reset(row, seed=3) for row in range(2)])
    step = batch.step(np.array([[0.1, 0.9, 0.0, 0.0, 0.2], [0, 0, 0, 0, 1]], np.float32), np.ones(2, np.bool_))
    assert (step.observations - starts).tolist() == [[1.0, 0.0], [0.0, -1.0]]
