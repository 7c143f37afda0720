"""What both rooms share: how one moves, spaces, tasks, batches and single environments, copies, pictures, the contract."""

from __future__ import annotations

import copy
import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import icrl_bench  # noqa: F401 (registers the ids)
from icrl_registry.actions import one_hot
from icrl_registry.contracts import Task
from icrl_registry.discovery import load
from icrl_registry.errors import UsageError
from icrl_registry.testing.conformance import run_checks

NAMES = ("dark-room-v1", "dark-key-to-door-v1")
TASKS = {"dark-room-v1": (7.0, 2.0), "dark-key-to-door-v1": (7.0, 2.0, 0.0, 8.0)}


@pytest.fixture(params=NAMES)
def family(request: pytest.FixtureRequest):
    component = load("environment", request.param).component
    return component(component.Config())


def walk(environment, actions, seed=0):
    observation, _ = environment.reset(seed=seed)
    rows = [(observation.tolist(), 0.0, False)]
    for action in actions:
        observation, reward, _, truncated, _ = environment.step(action)
        rows.append((observation.tolist(), reward, truncated))
    return rows


@pytest.mark.parametrize("name", NAMES)
def test_they_keep_the_contract(name: str):
    failed = [result for result in run_checks(load("environment", name)) if not result.passed]
    assert not failed


def test_five_actions_move_by_a_cell_and_walls_hold(room):
    environment = room.make(Task((0.0, 0.0)))
    cells = [row[0] for row in walk(environment, [0, 1, 2, 2, 3, 4, *[1] * 6])]
    expected = [(4, 4), (4, 4), (4, 5), (5, 5), (6, 5), (6, 4), (5, 4), (5, 5), (5, 6), (5, 7), (5, 8), (5, 8), (5, 8)]
    assert [tuple(cell) for cell in cells] == expected


def test_gymnasium_finds_nothing_to_complain_of(family):
    check_env(family.make(Task(TASKS[family.id])), skip_render_check=True)


def test_a_batch_steps_each_task_as_it_is_stepped_alone(family):
    generator = np.random.default_rng(5)
    tasks = [Task(tuple(row)) for row in family.sample_training_parameters(6, generator)]
    actions = generator.integers(5, size=(family.spec.horizon, 6))
    batch = family.make_batch(tasks)
    starts = [batch.reset(row, seed=row).tolist() for row in range(6)]
    steps = [batch.step(one_hot(row, 5), np.ones(6, np.bool_)) for row in actions]
    for row, task in enumerate(tasks):
        alone = walk(family.make(task), actions[:, row].tolist(), seed=row)
        together = [(starts[row], 0.0, False)]
        together += [(s.observations[row].tolist(), float(s.rewards[row]), bool(s.truncated[row])) for s in steps]
        assert alone == together


def test_inactive_rows_stand_still_and_are_paid_nothing(room):
    batch = room.make_batch([Task((4.0, 4.0))] * 2)
    for row in range(2):
        batch.reset(row, seed=0)
    step = batch.step(one_hot(np.array([0, 0]), 5), np.array([True, False]))
    assert step.rewards.tolist() == [1.0, 0.0]
    step = batch.step(one_hot(np.array([1, 1]), 5), np.array([False, True]))
    assert step.observations.tolist() == [[4.0, 4.0], [4.0, 5.0]]


def test_copies_go_on_by_themselves(family):
    environment = family.make(Task(TASKS[family.id]))
    walk(environment, [1, 2, 2])
    for twin in (copy.deepcopy(environment), pickle.loads(pickle.dumps(environment))):
        assert twin.step(2)[0].tolist() == copy.deepcopy(environment).step(2)[0].tolist()
        twin.step(2)
    assert not environment.step(0)[3]


def test_every_task_is_listed_once_and_draws_for_training_never_repeat(room):
    every = room.all_task_parameters()
    assert sorted(map(tuple, every.tolist())) == [(column, row) for column in range(9) for row in range(9)]
    drawn = room.sample_training_parameters(81, np.random.default_rng(0))
    assert sorted(map(tuple, drawn.tolist())) == sorted(map(tuple, every.tolist()))


def test_there_are_81_rooms_and_6561_pairs(room, key_to_door):
    assert (room.num_tasks(), key_to_door.num_tasks()) == (81, 81**2)
    assert len(key_to_door.all_task_parameters()) == 81**2


@pytest.mark.parametrize("task", [(9.0, 0.0), (-1.0, 0.0), (0.5, 0.0)])
def test_cells_outside_the_room_are_no_tasks(room, task: tuple[float, float]):
    with pytest.raises(ValueError, match="whole numbers from 0 to 8"):
        room.make(Task(task))
    with pytest.raises(UsageError, match="whole numbers from 0 to 8"):
        gymnasium.make("icrl_bench/DarkRoom-v1", task=task)


def test_the_gymnasium_ids_take_numbers_alone_and_side_by_side():
    single = gymnasium.make("icrl_bench/DarkRoom-v1", task=(5, 4))
    assert single.action_space == gymnasium.spaces.Discrete(5)
    single.reset(seed=0)
    assert single.step(2)[1] == 1.0
    vector = gymnasium.make_vec("icrl_bench/DarkRoom-v1", num_envs=3, task=[(5, 4), (4, 5), (4, 4)])
    vector.reset(seed=0)
    assert vector.step(np.array([2, 1, 0]))[1].tolist() == [1.0, 1.0, 1.0]
    assert vector.step(np.array([4, 1, 0]))[0].tolist() == [[4.0, 4.0], [4.0, 6.0], [4.0, 4.0]]
    vector.close()


@pytest.mark.parametrize("action", [5, -1, 0.5, [1, 0, 0, 0, 0]])
def test_there_is_no_sixth_action(room, action):
    environment = room.make(Task((0.0, 0.0)))
    environment.reset(seed=0)
    with pytest.raises(ValueError, match="actions 0 to 4"):
        environment.step(action)


def test_a_picture_shows_the_agent_and_what_is_hidden(key_to_door):
    environment = key_to_door.make(Task(TASKS[key_to_door.id]), render_mode="rgb_array")
    environment.reset(seed=0)
    before = environment.render()
    assert before.shape == (216, 216, 3)
    assert before.dtype == np.uint8
    colours = {tuple(colour) for colour in before.reshape(-1, 3).tolist()}
    assert len(colours) == 4  # floor, lines, hidden cells, agent
    column, row = map(int, environment.reset(seed=0)[0][:2])
    agent = before[(8 - row) * 24 + 12, column * 24 + 12].tolist()
    environment.step(2 if column < 8 else 4)
    moved = column + (1 if column < 8 else -1)
    assert environment.render()[(8 - row) * 24 + 12, moved * 24 + 12].tolist() == agent


def test_what_was_saved_belongs_to_a_batch_of_its_size(room):
    batch = room.make_batch([Task((0.0, 0.0))] * 2)
    with pytest.raises(ValueError, match="could not broadcast"):
        batch.restore(room.make_batch([Task((0.0, 0.0))] * 3).save())
