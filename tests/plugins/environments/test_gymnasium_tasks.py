"""Gymnasium ids play any task of the family and no other, change it between episodes, and step many as one batch."""

from __future__ import annotations

from unittest import mock

import gymnasium
import numpy as np
import pytest

import icrl_bench
from icrl_plugins.environments.ant_dir import AntDir
from icrl_plugins.environments.grid_worlds.dark_room import DarkRoom
from icrl_registry.errors import BenchError, UsageError

REACHER, ANT = "icrl_bench/ReacherGoal-v1", "icrl_bench/AntDir-v1"


def chosen(env):
    return env.get_wrapper_attr("task")


def test_a_protocols_task_by_its_name():
    tasks = icrl_bench.plan("source", "reacher-goal", protocol="laptop-v2").tasks["test"]
    assert chosen(gymnasium.make(REACHER, task="laptop-v2/test-003")) == tasks[3].parameters


def test_a_random_task_follows_its_seed():
    first, again, other = (chosen(gymnasium.make(REACHER, task="random", task_seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ((0.5, 0.0), "none of the family: the goal is 0.5 m from the base"),
        ("laptop-v2/test-999", "has no task 'test-999'"),
        ("nonsense", "no task is called 'nonsense'"),
        ("nobody-v1/test-000", "nobody-v1"),
        (None, "no task given"),
    ],
)
def test_what_is_no_task_is_refused_with_a_hint(task, words):
    with pytest.raises(BenchError, match=words) as caught:
        gymnasium.make(REACHER, task=task)
    assert caught.value.hint


def test_a_task_set_between_episodes_is_that_task():
    env = gymnasium.make(ANT, task=(0.0,))
    (wanted,) = env.get_wrapper_attr("sample_tasks")(1)
    env.reset(seed=3)
    env.get_wrapper_attr("set_task")(wanted)
    assert chosen(env) == (0.0,)  # until the next episode
    fresh = gymnasium.make(ANT, task=wanted)
    assert np.array_equal(env.reset(seed=4)[0], fresh.reset(seed=4)[0])
    assert chosen(env) == wanted
    generator = np.random.default_rng(0)
    for _ in range(5):
        action = generator.uniform(-1, 1, 8).astype(np.float32)
        assert env.step(action)[1] == fresh.step(action)[1]


def test_a_task_in_the_options_of_reset():
    env, fresh = gymnasium.make(ANT, task=(0.0,)), gymnasium.make(ANT, task=(2.0,))
    env.reset(seed=1, options={"task": (2.0,)})
    fresh.reset(seed=1)
    action = np.full(8, 0.5, np.float32)
    assert env.step(action)[1] == fresh.step(action)[1]
    with pytest.raises(UsageError):
        env.reset(options={"task": (9.0,)})


@pytest.mark.parametrize("task", [(1.0,), [(0.0,), (1.0,), (2.0,)]])
def test_a_vector_is_its_environments_side_by_side(task):
    """Until the first ends, that is: Gymnasium's own vector seeds later episodes from each copy's generator."""
    batch = gymnasium.make_vec(ANT, num_envs=3, task=task)
    alone = [gymnasium.make(ANT, task=each) for each in (task if isinstance(task, list) else [task] * 3)]
    observations, _ = batch.reset(seed=5)
    assert np.array_equal(observations, np.stack([env.reset(seed=5 + row)[0] for row, env in enumerate(alone)]))
    generator = np.random.default_rng(1)
    for _ in range(20):
        actions = generator.uniform(-1, 1, (3, 8)).astype(np.float32)
        observations, rewards, *_ = batch.step(actions)
        steps = [env.step(action) for env, action in zip(alone, actions, strict=True)]
        assert np.array_equal(observations, np.stack([step[0] for step in steps]))
        assert rewards == pytest.approx([step[1] for step in steps], rel=1e-6)


def test_a_row_that_ended_begins_again_with_the_next_step():
    batch = gymnasium.make_vec(REACHER, num_envs=2, task=(0.1, 0.0))
    batch.reset(seed=0)
    actions = np.zeros((2, 2), np.float32)
    for _ in range(49):
        *_, truncated, _ = batch.step(actions)
        assert not truncated.any()
    last, _, _, truncated, _ = batch.step(actions)
    assert truncated.all()
    first, rewards, terminated, truncated, _ = batch.step(actions)
    assert not np.array_equal(first, last)
    assert not rewards.any()
    assert not (terminated | truncated).any()
    for _ in range(50):
        *_, truncated, _ = batch.step(actions)
    assert truncated.all()


DISCRETE = "icrl_bench/DarkRoom-v1"


def test_a_vector_steps_its_family_as_one_batch(monkeypatch: pytest.MonkeyPatch):
    """One call of the family's own batched stepping a step, with one-hot rows where actions are numbers."""
    batches = []
    for family in (AntDir, DarkRoom):
        make_batch = family.make_batch

        def counting(self, tasks, make_batch=make_batch):
            batches.append(make_batch(self, tasks))
            batches[-1].step = mock.Mock(side_effect=batches[-1].step)
            return batches[-1]

        monkeypatch.setattr(family, "make_batch", counting)
    for name, actions in ((ANT, np.zeros((3, 8), np.float32)), (DISCRETE, np.array([0, 2, 4]))):
        batch = gymnasium.make_vec(name, num_envs=3, task="random", task_seed=0)
        batch.reset(seed=0)
        for _ in range(4):
            batch.step(actions)
    assert [(each.num_tasks, each.step.call_count) for each in batches] == [(3, 4), (3, 4)]
    rows = batches[1].step.call_args.args[0]
    assert rows.tolist() == np.eye(5)[[0, 2, 4]].tolist()


def test_a_vector_of_discrete_actions_is_its_environments_side_by_side():
    tasks = [(4.0, 6.0), (5.0, 4.0), (0.0, 0.0)]
    batch = gymnasium.make_vec(DISCRETE, num_envs=3, task=tasks)
    alone = [gymnasium.make(DISCRETE, task=task) for task in tasks]
    observations, _ = batch.reset(seed=5)
    assert np.array_equal(observations, np.stack([env.reset(seed=5)[0] for env in alone]))
    for numbers in np.random.default_rng(2).integers(5, size=(20, 3)):
        observations, rewards, *_ = batch.step(numbers)
        steps = [env.step(number) for env, number in zip(alone, numbers, strict=True)]
        assert np.array_equal(observations, np.stack([step[0] for step in steps]))
        assert rewards.tolist() == [step[1] for step in steps]


@pytest.mark.parametrize("change", ["set_task", "options"])
def test_a_task_outside_the_family_is_refused_between_episodes_too(change: str):
    env = gymnasium.make(DISCRETE, task=(4.0, 6.0))
    ways = {"set_task": env.get_wrapper_attr("set_task"), "options": lambda task: env.reset(options={"task": task})}
    with pytest.raises(UsageError, match="whole numbers from 0 to 8") as caught:
        ways[change]((9.0, 0.0))
    assert "task='grid-worlds-v1/test-000'" in caught.value.hint
    assert env.reset(seed=0)[0].tolist() == [4.0, 4.0]  # it plays on as it was
    named = gymnasium.make(DISCRETE, task="grid-worlds-v1/test-000")
    assert len(named.get_wrapper_attr("task")) == 2


def test_random_tasks_of_a_vector_differ():
    batch = gymnasium.make_vec(REACHER, num_envs=4, task="random", task_seed=0)
    assert len(set(batch.unwrapped.tasks)) == 4
    with pytest.raises(UsageError, match="2 tasks for num_envs=3"):
        gymnasium.make_vec(REACHER, num_envs=3, task=[(0.1, 0.0), (0.0, 0.1)])
