"""Gymnasium's own v5 environments replayed beside ours: same start, same actions, equal physics and reward terms."""

from __future__ import annotations

import gymnasium
import mujoco
import numpy as np
import pytest

from icrl_plugins.environments.ant_dir import AntDir
from icrl_plugins.environments.half_cheetah_vel import HalfCheetahVel
from icrl_plugins.environments.pusher_goal import PusherGoal
from icrl_plugins.environments.pusher_goal_v2 import PusherGoalV2
from icrl_plugins.environments.reacher_goal import ReacherGoal
from icrl_registry.contracts import Task

ROW = slice(None)


class Pair:
    """Our environment of one task and Gymnasium's, set to the same state and stepped with the same controls."""

    def __init__(self, family, task, reference_id, seed=0, **reference_settings):
        self.family = family
        self.ours = family.make(Task(task)).unwrapped
        self.reference = gymnasium.make(reference_id, disable_env_checker=True, **reference_settings).unwrapped
        self.observation, _ = self.ours.reset(seed=seed)
        self.reference.reset(seed=seed)
        mujoco.mj_resetData(self.reference.model, self.reference.data)  # forget the warm start of its own reset
        self.reference.set_state(self.ours.data.qpos, self.ours.data.qvel)

    def lift(self, height):
        """Puts both torsos at a height, whatever happened before."""
        self.ours.data.qpos[2] = height
        self.reference.data.qpos[2] = height

    def step(self, action):
        """Our reward terms and termination, and Gymnasium's whole answer; physics must agree to the last bit."""
        terms, terminated = self.ours.simulation.advance_with_terms(action[None], ROW)
        answer = self.reference.step(action * self.family.control_scale)
        np.testing.assert_array_equal(self.ours.data.qpos, self.reference.data.qpos)
        np.testing.assert_array_equal(self.ours.data.qvel, self.reference.data.qvel)
        self.observation = self.ours.simulation.observation(0)
        return {name: float(term[0]) for name, term in terms.items()}, bool(terminated[0]), answer


def random_actions(family, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (family.horizon, family.action_size))


def close(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("control_weight", [0.1, 1.0])
def test_reacher(control_weight):
    family = ReacherGoal(ReacherGoal.Config(control_weight=control_weight))
    pair = Pair(family, (0.11, -0.06), "Reacher-v5", reward_control_weight=control_weight)
    for action in random_actions(family):
        terms, terminated, (observation, reward, _, _, info) = pair.step(action)
        assert terms == {"distance": close(info["reward_dist"]), "control": close(info["reward_ctrl"])}
        assert sum(terms.values()) == close(reward)
        assert not terminated
        np.testing.assert_allclose(observation[4:6], (0.11, -0.06), atol=1e-9)  # theirs tells the target, ours must not
        tip = observation[8:10] + pair.reference.data.body("target").xpos[:2]
        expected = np.concatenate([observation[:4], observation[6:8], tip])
        np.testing.assert_allclose(pair.observation, expected, rtol=1e-6, atol=1e-7)


def test_pusher():
    family = PusherGoal(PusherGoal.Config())
    pair = Pair(family, (0.45, -0.25, 0.5, 0.02), "Pusher-v5")
    for action in random_actions(family):
        terms, terminated, (observation, reward, _, _, info) = pair.step(action)
        assert terms == {
            "distance": close(info["reward_dist"]),
            "near": close(info["reward_near"]),
            "control": close(info["reward_ctrl"]),
        }
        assert sum(terms.values()) == close(reward)
        assert not terminated
        np.testing.assert_allclose(pair.observation, observation[:17], rtol=1e-6)


@pytest.mark.parametrize("target", [0.0, 1.4, 3.0])
def test_half_cheetah(target):
    family = HalfCheetahVel(HalfCheetahVel.Config())
    pair = Pair(family, (target,), "HalfCheetah-v5", ctrl_cost_weight=0.05)
    for action in random_actions(family):
        terms, terminated, (observation, _, _, _, info) = pair.step(action)
        assert terms == {
            "velocity": close(-abs(info["x_velocity"] - target)),
            "control": close(info["reward_ctrl"]),
        }
        assert not terminated
        np.testing.assert_allclose(pair.observation, observation, rtol=1e-6)


@pytest.mark.parametrize("terminate", [True, False])
@pytest.mark.parametrize("direction", [0.0, 2.5, 4.0])
def test_ant(direction, terminate):
    """Also at and after the unhealthy step: Gymnasium pays no survival reward there, and ends the episode if asked to."""
    family = AntDir(AntDir.Config(terminate_when_unhealthy=terminate))
    settings = {"include_cfrc_ext_in_observation": False, "terminate_when_unhealthy": terminate}
    pair = Pair(family, (direction,), "Ant-v5", **settings)
    lifted_at = 40
    unhealthy_steps = 0
    for step, action in enumerate(random_actions(family)):
        if step == lifted_at:
            pair.lift(height=1.5)
        terms, terminated, (observation, reward, reference_terminated, _, info) = pair.step(action)
        along = info["x_velocity"] * np.cos(direction) + info["y_velocity"] * np.sin(direction)
        assert terms == {
            "direction": close(along),
            "healthy": close(info["reward_survive"]),
            "control": close(info["reward_ctrl"]),
            "contact": close(info["reward_contact"]),
        }
        assert sum(terms.values()) == close(reward - info["reward_forward"] + along)
        assert terminated == reference_terminated
        np.testing.assert_allclose(pair.observation, observation, rtol=1e-6)
        unhealthy_steps += terms["healthy"] == 0
        if terminated:
            break
    assert terminated == terminate
    assert unhealthy_steps == 1 if terminate else unhealthy_steps > 1


def test_step_returns_the_sum_of_the_terms(family, draw_tasks):
    task = draw_tasks(family, 1)[0]
    stepped, apart = family.make(task).unwrapped, family.make(task).unwrapped
    stepped.reset(seed=5)
    apart.reset(seed=5)
    for action in random_actions(family)[:10]:
        _, reward, *_ = stepped.step(action)
        terms, _ = apart.simulation.advance_with_terms(action[None], ROW)
        assert reward == close(sum(float(term[0]) for term in terms.values()))
        assert isinstance(reward, float)


def test_compiled_bodies_equal_gymnasiums(family, draw_tasks):
    """The model is compiled by our own code so that MuJoCo's warning stays quiet; nothing may differ but what is stated."""
    reference_id = {
        ReacherGoal: "Reacher-v5",
        PusherGoal: "Pusher-v5",
        PusherGoalV2: "Pusher-v5",
        HalfCheetahVel: "HalfCheetah-v5",
        AntDir: "Ant-v5",
    }
    ours = family.make(draw_tasks(family, 1)[0]).unwrapped
    reference = gymnasium.make(reference_id[type(family)]).unwrapped
    for name in (
        "body_mass",
        "body_inertia",
        "dof_damping",
        "geom_size",
        "actuator_gear",
        "actuator_ctrlrange",
        "qpos0",
    ):
        expected = getattr(reference.model, name).copy()
        for body, mass in family.body_masses.items():
            row = reference.model.body(body).id
            if name in ("body_mass", "body_inertia"):
                expected[row] *= mass / reference.model.body_mass[row]
        for joint, damping in family.joint_damping.items():
            if name == "dof_damping":
                expected[reference.model.joint(joint).dofadr[0]] = damping
        np.testing.assert_allclose(getattr(ours.model, name), expected, rtol=1e-12 if family.body_masses else 0)
    assert ours.dt == reference.dt
    if isinstance(family, PusherGoalV2):  # torques of its own for every joint, within the actuators' range
        assert (np.array(family.control_scale) <= ours.model.actuator_ctrlrange[:, 1]).all()
        return
    assert ours.model.actuator_ctrlrange.max() == family.control_scale
    assert -ours.model.actuator_ctrlrange.min() == family.control_scale
