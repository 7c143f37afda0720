"""Where tasks are drawn from, how training tasks are spread, and how far apart two tasks are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icrl_plugins.environments.ant_dir import AntDir
from icrl_plugins.environments.half_cheetah_vel import HalfCheetahVel
from icrl_plugins.environments.pusher_goal import PusherGoal
from icrl_plugins.environments.reacher_goal import ReacherGoal

SEEDS = st.integers(0, 2**32 - 1)


def generator(seed):
    return np.random.default_rng(seed)


def test_tasks_are_float64_rows_in_the_named_parameters(family):
    parameters = family.sample_training_parameters(9, generator(0))
    assert parameters.shape == (9, len(family.task_parameter_names))
    assert parameters.dtype == np.float64
    assert family.sample_task_parameters(generator(0)).shape == parameters.shape[1:]
    assert len(np.unique(parameters, axis=0)) == 9


def test_the_generator_alone_decides_the_tasks(family):
    for draw in (family.sample_task_parameters, lambda g: family.sample_training_parameters(5, g)):
        np.testing.assert_array_equal(draw(generator(3)), draw(generator(3)))
        assert not np.array_equal(draw(generator(3)), draw(generator(4)))


@given(SEEDS)
def test_reacher_goals_lie_where_the_arm_reaches(seed):
    goal = ReacherGoal(ReacherGoal.Config()).sample_task_parameters(generator(seed))
    assert 0.02 - 1e-12 <= np.hypot(*goal) <= 0.2 + 1e-12


def test_reacher_goals_are_uniform_over_the_area():
    goals = ReacherGoal(ReacherGoal.Config()).sample_training_parameters(4000, generator(0))
    squared_radius = (goals**2).sum(axis=1)
    share = (squared_radius - 0.02**2) / (0.2**2 - 0.02**2)  # uniform in [0, 1] if the area is
    assert np.histogram(share, bins=10, range=(0, 1))[0] == pytest.approx(np.full(10, 400), abs=80)  # 4 σ = 76
    angle = np.arctan2(goals[:, 1], goals[:, 0])
    assert np.histogram(angle, bins=10, range=(-np.pi, np.pi))[0] == pytest.approx(np.full(10, 400), abs=80)


@given(SEEDS)
def test_pusher_tasks_are_in_reach_and_need_a_push(seed):
    values = PusherGoal(PusherGoal.Config()).sample_task_parameters(generator(seed))
    thing, goal = values[:2], values[2:]
    assert 0.30 <= thing[0] <= 0.60
    assert -0.35 <= thing[1] <= -0.10
    assert np.hypot(*(goal - (0.45, -0.05))) <= 0.15 + 1e-12
    assert np.hypot(*(thing - goal)) > 0.17
    assert np.hypot(*(goal - (0.0, -0.6))) <= 0.82


def test_pusher_rejects_goals_out_of_reach_and_fills_the_rest():
    values = PusherGoal(PusherGoal.Config()).sample_training_parameters(2000, generator(0))
    offset = values[:, 2:] - (0.45, -0.05)
    assert np.hypot(*offset.T).max() > 0.145
    assert np.hypot(*(values[:, 2:] - (0.0, -0.6)).T).max() > 0.815  # the reach, not the disc, bounds that side
    assert values[:, 0].min() < 0.31
    assert values[:, 0].max() > 0.59
    assert values[:, 1].min() < -0.34
    assert values[:, 1].max() > -0.12


@pytest.mark.parametrize(("family_type", "extent"), [(HalfCheetahVel, 3.0), (AntDir, 2 * np.pi)])
@given(seed=SEEDS, count=st.integers(1, 60))
def test_training_tasks_have_one_draw_in_each_equal_bin(family_type, extent, seed, count):
    values = family_type(family_type.Config()).sample_training_parameters(count, generator(seed))[:, 0]
    edges = np.arange(count + 1) * extent / count
    assert (values >= edges[:-1] - 1e-12).all()
    assert (values <= edges[1:] + 1e-12).all()


@pytest.mark.parametrize(("family_type", "extent"), [(HalfCheetahVel, 3.0), (AntDir, 2 * np.pi)])
def test_single_tasks_cover_the_whole_range(family_type, extent):
    family, rng = family_type(family_type.Config()), generator(0)
    values = np.array([family.sample_task_parameters(rng)[0] for _ in range(2000)])
    assert np.histogram(values, bins=4, range=(0, extent))[0] == pytest.approx(np.full(4, 500), abs=80)  # 4 σ = 77


@given(st.floats(0, 2 * np.pi), st.floats(-np.pi, np.pi))
def test_ant_directions_are_as_far_apart_as_their_angle(direction, turn):
    family = AntDir(AntDir.Config())
    other = (direction + turn) % (2 * np.pi)
    unit = np.exp(1j * np.array([direction, other]))
    expected = abs(np.angle(unit[0] / unit[1]))
    assert family.task_distance(np.array([direction]), np.array([other])) == pytest.approx(expected, abs=1e-9)


def test_distances_elsewhere_are_euclidean():
    cases = [
        (ReacherGoal, [0.0, 0.0], [0.03, 0.04], 0.05),
        (PusherGoal, [0.4, -0.3, 0.5, 0.0], [0.5, -0.2, 0.6, 0.1], 0.2),
        (HalfCheetahVel, [0.5], [2.0], 1.5),
    ]
    for family_type, first, second, expected in cases:
        distance = family_type(family_type.Config()).task_distance(np.array(first), np.array(second))
        assert distance == pytest.approx(expected)
