"""The task is in neither the observation nor `info`: it shows in the rewards alone."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from icrl_plugins.environments.half_cheetah_vel import HalfCheetahVel
from icrl_plugins.environments.pusher_goal import PusherGoal
from icrl_plugins.environments.reacher_goal import ReacherGoal
from icrl_registry.contracts import Task


def roll_out(env, seed, actions):
    """Observations (T + 1, O), rewards (T,) and every info of one episode; stops where it terminates."""
    observation, info = env.reset(seed=seed)
    observations, rewards, infos = [observation], [], [info]
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        rewards.append(reward)
        infos.append(info)
        if terminated or truncated:
            break
    return np.array(observations), np.array(rewards), infos


def object_is_touched(env):
    """Whether MuJoCo holds a contact between the object and the arm (the table is body 0)."""
    model, data = env.unwrapped.model, env.unwrapped.data
    thing = model.body("object").id
    for contact in data.contact[: data.ncon]:
        bodies = {int(model.geom_bodyid[contact.geom1]), int(model.geom_bodyid[contact.geom2])}
        if thing in bodies and 0 not in bodies:
            return True
    return False


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_same_seed_and_actions_look_the_same_under_two_tasks(family, draw_tasks, seed):
    if isinstance(family, PusherGoal):
        actions = np.zeros((family.horizon, family.action_size), dtype=np.float32)  # touches nothing
    else:
        actions = np.random.default_rng(seed).uniform(-1, 1, (family.horizon, family.action_size)).astype(np.float32)
    first, *others = [roll_out(family.make(task), seed, actions) for task in draw_tasks(family, 4)]
    for observations, rewards, _ in others:
        np.testing.assert_array_equal(observations, first[0])
        assert (rewards != first[1]).all()


@pytest.mark.parametrize("seed", [3, 5, 8, 9])
def test_pusher_looks_the_same_until_the_first_contact(draw_tasks, seed):
    family = PusherGoal(PusherGoal.Config())
    envs = [family.make(task) for task in draw_tasks(family, 2)]
    actions = np.random.default_rng(seed).uniform(-1, 1, (5, 7)).repeat(20, axis=0)
    observations = [env.reset(seed=seed)[0] for env in envs]
    steps_before_contact = 0
    for action in actions:
        results = [env.step(action) for env in envs]
        if any(object_is_touched(env) for env in envs):
            break
        observations = [result[0] for result in results]
        np.testing.assert_array_equal(*observations)
        assert results[0][1] != results[1][1]
        steps_before_contact += 1
    assert steps_before_contact > 0


def test_touching_the_object_is_felt():
    """The counterpart of the test above: with the object laid onto the arm's way, observations do part."""
    family = PusherGoal(PusherGoal.Config())
    rng = np.random.default_rng(0)
    tasks = [Task(tuple(family.sample_task_parameters(rng))) for _ in range(8)]
    for seed in range(20):
        actions = np.random.default_rng(seed).uniform(-1, 1, (5, 7)).repeat(20, axis=0)
        untouched, touched = [], []
        for env in map(family.make, tasks):
            env.reset(seed=seed)
            steps = [(env.step(action)[0], object_is_touched(env)) for action in actions]
            (touched if any(contact for _, contact in steps) else untouched).append([seen for seen, _ in steps])
        if touched and untouched:
            assert not np.array_equal(touched[0], untouched[0])
            return
    pytest.fail("no action sequence touched the object")


def test_info_is_empty(family, draw_tasks):
    actions = np.full((5, family.action_size), 0.3, dtype=np.float32)
    _, _, infos = roll_out(family.make(draw_tasks(family, 1)[0]), 0, actions)
    assert infos == [{}] * len(infos)


def test_reset_keeps_the_task_and_redraws_the_noise(family, draw_tasks):
    env = family.make(draw_tasks(family, 1)[0])
    first, _ = env.reset(seed=4)
    before = env.unwrapped.simulation.parameters.copy()
    second, _ = env.reset()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(env.unwrapped.simulation.parameters, before)
    np.testing.assert_array_equal(env.reset(seed=4)[0], first)
    np.testing.assert_array_equal(env.reset()[0], second)


def test_an_episode_does_not_depend_on_the_ones_before(family, draw_tasks):
    actions = np.random.default_rng(0).uniform(-1, 1, (20, family.action_size)).astype(np.float32)
    env = family.make(draw_tasks(family, 1)[0])
    first = roll_out(env, 11, actions)
    roll_out(env, 12, -actions)
    again = roll_out(env, 11, actions)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_the_goal_stays_where_the_task_put_it():
    """World coordinates read from MuJoCo's bodies after a reset, in the order of the task's parameters."""
    parameters = (0.33, -0.21, 0.52, 0.04)
    family = PusherGoal(PusherGoal.Config())
    env = family.make(Task(parameters)).unwrapped
    env.reset(seed=0)
    np.testing.assert_allclose(env.data.body("object").xpos, (0.33, -0.21, -0.275), atol=1e-12)
    np.testing.assert_allclose(env.data.body("goal").xpos, (0.52, 0.04, -0.323), atol=1e-12)
    np.testing.assert_array_equal(env.data.qpos[:7], np.zeros(7))
    for _ in range(20):
        env.step(np.zeros(7))
    np.testing.assert_allclose(env.data.body("goal").xpos, (0.52, 0.04, -0.323), atol=1e-12)

    env = ReacherGoal(ReacherGoal.Config()).make(Task((-0.07, 0.12))).unwrapped
    env.reset(seed=0)
    np.testing.assert_allclose(env.data.body("target").xpos[:2], (-0.07, 0.12), atol=1e-12)


def test_reset_noise_stays_in_the_documented_ranges():
    for family_type, task in ((ReacherGoal, (0.1, 0.0)), (PusherGoal, (0.4, -0.3, 0.5, 0.0)), (HalfCheetahVel, (1.0,))):
        env = family_type(family_type.Config()).make(Task(task)).unwrapped
        starts = []
        for seed in range(200):
            env.reset(seed=seed)
            starts.append(np.concatenate([env.data.qpos, env.data.qvel]))
        starts = np.array(starts)
        if family_type is ReacherGoal:
            assert 0.09 < np.abs(starts[:, :2]).max() <= 0.1
            assert 0.0045 < np.abs(starts[:, 4:6]).max() <= 0.005
            assert not starts[:, 6:].any()
        elif family_type is PusherGoal:
            assert 0.0045 < np.abs(starts[:, 11:18]).max() <= 0.005
            assert not starts[:, 18:].any()
        else:
            assert 0.09 < np.abs(starts[:, :9]).max() <= 0.1
            assert starts[:, 9:].std() == pytest.approx(0.1, abs=0.01)


def test_mujoco_never_resets_by_itself(family, draw_tasks):
    """A diverged state must stay visible; MuJoCo's own remedy would put the body back to its start in silence."""
    env = family.make(draw_tasks(family, 1)[0]).unwrapped
    env.reset(seed=0)
    env.data.qvel[0] = np.nan
    observation, reward, *_ = env.step(np.zeros(family.action_size))
    assert env.model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_AUTORESET
    assert np.isnan(observation).any() or np.isnan(reward)


def test_no_point_is_better_for_all_goals_than_the_geometric_median():
    """Against a search on a grid of half a millimetre, and the figure of the ten test tasks of `laptop-v1`."""
    from icrl_registry.protocols.loading import load_protocol
    from icrl_registry.protocols.splits import draw_tasks

    family = ReacherGoal(ReacherGoal.Config())
    tasks = draw_tasks(family, load_protocol("laptop-v1").plan_for("reacher-goal-v1").split)["test"]
    bound = family.blind_return(tasks).mean()
    goals = np.array([task.parameters for task in tasks])
    line = np.arange(-0.2, 0.2, 0.0005)
    points = np.stack(np.meshgrid(line, line), axis=-1)[..., None, :]  # (800, 800, 1, 2)
    searched = -50 * np.sqrt(np.square(points - goals).sum(axis=-1)).mean(axis=-1).min()
    assert bound == pytest.approx(searched, abs=1e-3)
    assert bound >= searched
    assert bound == pytest.approx(-7.49, abs=0.005)
