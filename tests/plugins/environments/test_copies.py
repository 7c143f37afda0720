"""A copy of an environment, in memory or by pickle, is one more environment: it goes on from where it was copied."""

from __future__ import annotations

import copy
import pickle

import gymnasium
import numpy as np
import pytest

import icrl_bench  # noqa: F401, it registers the ids

COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda env: pickle.loads(pickle.dumps(env))}


@pytest.fixture(params=COPIES.values(), ids=COPIES)
def copied(request):
    return request.param


def play(env, actions):
    """Observations, rewards, ends and infos of the steps; where an episode ends the next begins without a seed."""
    seen = []
    for action in actions:
        *step, info = env.step(action)
        seen.append((*step, info))
        if step[2] or step[3]:
            seen.append(env.reset())
    return seen


def assert_same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:] == other[1:]


@pytest.mark.parametrize("registered", [False, True], ids=["make", "gymnasium.make"])
def test_a_copy_in_mid_episode_steps_as_the_original(family, draw_tasks, copied, registered):
    """Over the end of the episode, whose next one is drawn from the copied generator, and with the same success."""
    task = draw_tasks(family, 1)[0]
    env = family.make(task)
    if registered:
        name = "".join(part.capitalize() for part in family.id[:-3].split("-")) + family.id[-3:]
        env = gymnasium.make(f"icrl_bench/{name}", task=task.parameters)
    actions = np.random.default_rng(0).uniform(-1, 1, (family.horizon + 30, family.action_size)).astype(np.float32)
    env.reset(seed=3)
    play(env, actions[:20])
    twin = copied(env)
    ahead = play(twin, actions[20:])  # the original must not move with it
    assert_same(play(env, actions[20:]), ahead)
    assert any((step[0] != ahead[0][0]).any() for step in ahead[1:])
    np.testing.assert_array_equal(twin.reset(seed=5)[0], env.reset(seed=5)[0])


def test_a_copy_of_a_batch_steps_as_the_original(family, draw_tasks, copied):
    batch = family.make_batch(draw_tasks(family, 3))
    actions = np.random.default_rng(1).uniform(-1, 1, (40, 3, family.action_size)).astype(np.float32)
    active = np.ones(3, dtype=np.bool_)
    for row in range(3):
        batch.reset(row, seed=row)
    for action in actions[:10]:
        batch.step(action, active)
    twin = copied(batch)
    ahead = [twin.step(action, active) for action in actions[10:]]
    for action, expected in zip(actions[10:], ahead, strict=True):
        step = batch.step(action, active)
        np.testing.assert_array_equal(step.observations, expected.observations)
        np.testing.assert_array_equal(step.rewards, expected.rewards)
        np.testing.assert_array_equal(step.terminated, expected.terminated)
    np.testing.assert_array_equal(twin.reset(1, seed=9), batch.reset(1, seed=9))


def test_a_copys_renderer_shows_the_copy(family, draw_tasks, copied):
    env = family.make(draw_tasks(family, 1)[0], "rgb_array")
    env.reset(seed=0)
    twin = copied(env).unwrapped
    assert twin.mujoco_renderer.data is twin.data is twin.simulation.first_data
    assert twin.data is not env.unwrapped.data
    assert twin.model is not env.unwrapped.model
    np.testing.assert_array_equal(twin.data.xpos, env.unwrapped.data.xpos)
