"""Gymnasium ids play any task of the family and no other, change it between episodes, and step many as one batch."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import icrl_bench
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


def test_random_tasks_of_a_vector_differ():
    batch = gymnasium.make_vec(REACHER, num_envs=4, task="random", task_seed=0)
    assert len(set(batch.unwrapped.tasks)) == 4
    with pytest.raises(UsageError, match="2 tasks for num_envs=3"):
        gymnasium.make_vec(REACHER, num_envs=3, task=[(0.1, 0.0), (0.0, 0.1)])
