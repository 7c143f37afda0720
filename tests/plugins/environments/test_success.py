"""The measure of success: known cases of each family, and the same number alone and in a batch."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from icrl_plugins.environments.ant_dir import AntDir
from icrl_plugins.environments.half_cheetah_vel import HalfCheetahVel
from icrl_plugins.environments.pusher_goal import PusherGoal
from icrl_plugins.environments.reacher_goal import ReacherGoal
from icrl_registry.batching import SequentialBatch

CASES = [
    (ReacherGoal, [0.2] * 40 + [0.02] * 10, True),
    (ReacherGoal, [0.0] * 40 + [0.021] + [0.0] * 9, False),
    (PusherGoal, [0.3] * 99 + [0.05], True),
    (PusherGoal, [0.0] * 99 + [0.051], False),
    (HalfCheetahVel, [3.0] * 50 + [0.0, 0.5] * 75, True),
    (HalfCheetahVel, [0.0] * 50 + [0.26] * 150, False),
    (AntDir, [0.5, 2.5] * 100, True),
    (AntDir, [1.49] * 200, False),
]


@pytest.mark.parametrize(("family_type", "signals", "expected"), CASES)
def test_known_episodes(family_type, signals, expected):
    assert family_type(family_type.Config()).succeeded(np.array(signals), terminated=False) is expected


def test_a_fall_is_no_success_however_fast():
    assert not AntDir(AntDir.Config()).succeeded(np.full(30, 5.0), terminated=True)


def test_alone_and_in_a_batch_at_the_last_step_only(family, draw_tasks):
    tasks = draw_tasks(family, 3)
    batch, single = family.make_batch(tasks), SequentialBatch([family.make(task) for task in tasks])
    for row in range(3):
        batch.reset(row, seed=row)
        single.reset(row, seed=row)
    ended, active = 0, np.ones(3, dtype=np.bool_)
    while active.any():
        actions = np.zeros((3, family.action_size), dtype=np.float32)
        one, other = batch.step(actions, active), single.step(actions, active)
        ends = one.terminated | one.truncated
        if ends.any():
            np.testing.assert_array_equal(one.successes, other.successes)
            np.testing.assert_array_equal(np.isfinite(one.successes), ends)
            ended += ends.sum()
        else:
            assert one.successes is None
            assert other.successes is None
        active &= ~ends
    assert ended == 3


def test_the_pushers_signal_is_the_distance_on_the_table(draw_tasks):
    """The object put on its goal is a success though the reward's distance, in space, stays at 4.8 cm."""
    family = PusherGoal(PusherGoal.Config())
    task = draw_tasks(family, 1)[0]
    env = family.make(task)
    env.reset(seed=0)
    data = env.unwrapped.data
    data.qpos[7:9] = data.qpos[9:11]  # object's slides (y, x) and the goal's
    mujoco.mj_forward(env.unwrapped.model, data)
    infos = [env.step(np.zeros(7, dtype=np.float32))[-1] for _ in range(family.horizon)]
    assert infos[:-1] == [{}] * (family.horizon - 1)
    assert infos[-1] == {"success": 1.0}


def test_the_reachers_signal_is_the_distance_in_the_plane():
    family = ReacherGoal(ReacherGoal.Config())
    batch = family.make_batch([_at(0.1, 0.05)])
    batch.reset(0, seed=0)
    tip = batch.step(np.zeros((1, 2), dtype=np.float32), np.ones(1, dtype=np.bool_)).observations[0, 6:8]
    assert batch.save()["signals"][0, 0] == pytest.approx(np.hypot(*(tip - (0.1, 0.05))), abs=1e-6)


def _at(x, y):
    from icrl_registry.contracts import Task

    return Task((x, y))
