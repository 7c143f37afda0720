"""Pusher-Goal, second version: where its goals lie, what its reward pays for, and that the hand moves the object."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icrl_plugins.environments.pusher_goal_v2 import PusherGoalV2
from icrl_registry.contracts import Task

SEEDS = st.integers(0, 2**32 - 1)
BASE = np.array([0.0, -0.6])


def family(**settings):
    return PusherGoalV2(PusherGoalV2.Config(**settings))


def drawn(count):
    return family().sample_training_parameters(count, np.random.default_rng(0))


def along_and_aside(parameters):
    """The way from object to goal along the ray from the base to the object and left of it, (2,) m."""
    ray = (parameters[:2] - BASE) / np.hypot(*(parameters[:2] - BASE))
    way = parameters[2:] - parameters[:2]
    return np.array([way @ ray, way @ (-ray[1], ray[0])])


def play(batch, actions, steps):
    """Rewards (steps, K) and the last answer when `actions` (K, 7) are held from the start of an episode."""
    for row in range(batch.num_tasks):
        batch.reset(row, seed=row)
    held = np.asarray(actions, dtype=np.float32)
    answers = [batch.step(held, np.ones(batch.num_tasks, dtype=np.bool_)) for _ in range(steps)]
    return np.array([answer.rewards for answer in answers]), answers[-1]


def positions(batch, name):
    """World positions of a body in every row, (K, 3)."""
    row = batch.model.body(name).id
    return np.array([data.xpos[row] for data in batch._data])


def deepest_contact(batch):
    """The smallest distance between object and arm over all rows, in metres; negative inside, None where none touches."""
    thing, model = batch.model.body("object").id, batch.model
    depths = []
    for data in batch._data:
        for contact in data.contact[: data.ncon]:
            bodies = {int(model.geom_bodyid[contact.geom1]), int(model.geom_bodyid[contact.geom2])}
            if thing in bodies and 0 not in bodies:
                depths.append(contact.dist)
    return min(depths, default=None)


# --- tasks ---


@given(SEEDS)
def test_tasks_lie_in_the_documented_ranges(seed):
    values = family().sample_task_parameters(np.random.default_rng(seed))
    along, aside = along_and_aside(values)
    assert np.abs(values[:2] - (0.479, -0.229)).max() <= 0.01
    assert 0.12 - 1e-12 <= np.hypot(along, aside) <= 0.24 + 1e-12
    assert 40.0 - 1e-9 <= abs(np.rad2deg(np.arctan2(aside, along))) <= 90.0 + 1e-9
    assert family().why_outside(np.round(values, 6)) is None


def test_both_sides_are_equally_likely_and_the_mean_push_goes_to_neither():
    ways = np.array([along_and_aside(row) for row in drawn(4000)])
    assert (ways[:, 1] > 0).sum() == pytest.approx(2000, abs=127)  # 4 σ of 4,000 fair coins
    assert ways[:, 1].mean() == pytest.approx(0.0, abs=4 * ways[:, 1].std() / np.sqrt(4000))
    assert np.abs(ways[:, 1]).mean() > 0.14


@pytest.mark.parametrize(
    ("start", "bearing", "length", "words"),
    [
        ((0.479, -0.229), 60, 0.18, None),
        ((0.479, -0.229), -60, 0.18, None),
        ((0.495, -0.232), 60, 0.18, "the object is more than 0.01 m"),
        ((0.479, -0.229), 60, 0.30, "the goal is 0.3 m from the object"),
        ((0.479, -0.229), 60, 0.10, "the goal is 0.1 m from the object"),
        ((0.479, -0.229), 30, 0.18, "bearing is 30°"),
        ((0.479, -0.229), -100, 0.18, "bearing is 100°"),
    ],
)
def test_tasks_outside_are_named(start, bearing, length, words):
    angle = np.arctan2(start[1] + 0.6, start[0]) + np.deg2rad(bearing)
    goal = np.array(start) + length * np.array([np.cos(angle), np.sin(angle)])
    reason = family().why_outside(np.array([*start, *goal]))
    assert reason is None if words is None else words in reason


# --- physics ---


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_hand_takes_the_object_along_without_entering_it(side):
    """Turning the shoulder alone: the object goes with the prong at its side until it slips off the prong's end."""
    batch = family().make_batch([Task(tuple(row)) for row in drawn(10)])
    for steps in (10, 15, 20):
        play(batch, np.tile([side, 0, 0, 0, 0, 0, 0], (10, 1)), steps)
        assert deepest_contact(batch) > 0.0
    objects = positions(batch, "object")[:, :2]
    moves = [along_and_aside(np.array([*task[:2], *now])) for task, now in zip(batch.parameters, objects, strict=True)]
    assert (side * np.array(moves)[:, 1] > 0.05).all()


def test_the_object_of_gymnasiums_model_is_left_behind():
    """Why the mass is changed: the same push with the 8 mg of Pusher-v5 goes through the object."""

    class AsInGymnasium(PusherGoalV2):
        body_masses, joint_damping = {}, {}

    batch = AsInGymnasium(AsInGymnasium.Config()).make_batch([Task(tuple(row)) for row in drawn(10)])
    assert batch.model.body("object").mass[0] < 1e-5
    play(batch, np.tile([1, 0, 0, 0, 0, 0, 0], (10, 1)), 15)
    assert deepest_contact(batch) < -0.02
    play(batch, np.tile([1, 0, 0, 0, 0, 0, 0], (10, 1)), 40)
    assert deepest_contact(batch) is None
    assert (np.hypot(*(positions(batch, "object")[:, :2] - batch.parameters[:, :2]).T) < 0.03).all()


def test_masses_and_dampings_reach_the_solver():
    """The model's inverse masses, which contacts are solved with, are those of a model that was compiled so."""
    model = family().make_batch([Task(tuple(drawn(1)[0]))]).model
    assert model.body("object").mass[0] == 0.2
    for joint in ("obj_slidex", "obj_slidey"):
        row = model.joint(joint).dofadr[0]
        assert model.dof_damping[row] == 2.0
        assert model.dof_invweight0[row] == pytest.approx(1.0 / 0.2)


def test_a_loose_object_rests_after_mass_over_damping():
    """v(t) = v₀·exp(−t·damping/mass) in MuJoCo's semi-implicit steps of 10 ms; the slide adds an inertia of 0.04 kg."""
    env = family().make(Task(tuple(drawn(1)[0]))).unwrapped
    env.reset(seed=0)
    env.data.qpos[:7] = 0.0  # the hand elsewhere
    row = env.model.joint("obj_slidex").dofadr[0]
    env.data.qvel[row] = 0.3
    mujoco.mj_forward(env.model, env.data)
    env.step(np.zeros(7))
    assert env.data.qvel[row] == pytest.approx(0.3 * (1 + 0.01 * 2.0 / 0.24) ** -5, rel=1e-6)


def test_actions_stand_for_torques_of_their_own():
    env = family().make(Task(tuple(drawn(1)[0]))).unwrapped
    env.reset(seed=0)
    env.step(np.full(7, -3.0))  # clipped
    np.testing.assert_allclose(env.data.ctrl, [-1, -1, -0.25, -0.25, -0.1, -0.1, -0.1])
    assert (np.abs(env.data.ctrl) < env.model.actuator_ctrlrange[:, 1]).all()


# --- the start, the reward and success ---


def test_an_episode_starts_with_the_hand_round_the_object_and_touching_nothing():
    """Corners of the object's spread among them; without actions nothing ever moves."""
    tasks = drawn(30)
    corners = np.array([[0.479 + x, -0.229 + y] for x in (-0.01, 0.01) for y in (-0.01, 0.01)])
    tasks[:4] += np.tile(corners - tasks[:4, :2], (1, 2))
    batch = family().make_batch([Task(tuple(row)) for row in tasks])
    rewards, _ = play(batch, np.zeros((30, 7)), 100)
    assert deepest_contact(batch) is None
    np.testing.assert_allclose(positions(batch, "object")[:, :2], tasks[:, :2], atol=1e-12)
    near = np.linalg.norm(positions(batch, "object") - positions(batch, "tips_arm"), axis=1)
    assert (near < 0.12).all()
    assert (np.abs(rewards[0] + 1.0) < 0.06).all()


def test_the_object_left_alone_costs_one_a_step():
    batch = family(near_weight=0.0).make_batch([Task(tuple(row)) for row in drawn(5)])
    rewards, last = play(batch, np.zeros((5, 7)), 100)
    np.testing.assert_allclose(rewards, -1.0, rtol=1e-6)
    np.testing.assert_array_equal(last.successes, np.zeros(5))


def test_reward_terms_equal_what_they_say():
    batch = family(distance_weight=2.0, near_weight=3.0, control_weight=0.5).make_batch([Task(tuple(drawn(1)[0]))])
    action = np.array([[1.0, -0.5, 0.5, 1.0, 0.0, 0.0, -1.0]])
    rewards, _ = play(batch, action, 12)
    thing, goal, wrist = (positions(batch, name)[0] for name in ("object", "goal", "tips_arm"))
    first = np.hypot(*(batch.parameters[0, 2:] - batch.parameters[0, :2]))
    torques = [1.0, -0.5, 0.125, 0.25, 0.0, 0.0, -0.1]
    expected = (
        -2.0 * np.hypot(*(thing - goal)[:2]) / first
        - 3.0 * np.linalg.norm(thing - wrist)
        - 0.5 * sum(torque**2 for torque in torques)
    )
    assert rewards[-1, 0] == pytest.approx(expected, rel=1e-6)


def test_an_object_on_its_goal_is_a_success_and_costs_no_distance():
    env = family(near_weight=0.0).make(Task(tuple(drawn(1)[0])))
    env.reset(seed=0)
    data = env.unwrapped.data
    data.qpos[7:9] = data.qpos[9:11]  # object's slides (y, x) and the goal's
    data.qpos[:7] = 0.0  # the hand elsewhere
    mujoco.mj_forward(env.unwrapped.model, data)
    answers = [env.step(np.zeros(7, dtype=np.float32)) for _ in range(100)]
    assert sum(answer[1] for answer in answers) == pytest.approx(0.0, abs=1e-6)
    assert answers[-1][-1] == {"success": 1.0}
