"""The environments as Gymnasium sees them: spaces, ids, the checker, the time limit, bad actions, rendering."""

from __future__ import annotations

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from icrl_bench.gymnasium_ids import register_environments
from icrl_plugins.environments.ant_dir import AntDir
from icrl_plugins.environments.half_cheetah_vel import HalfCheetahVel
from icrl_plugins.environments.pusher_goal import PusherGoal
from icrl_plugins.environments.pusher_goal_v2 import PusherGoalV2
from icrl_plugins.environments.reacher_goal import ReacherGoal
from icrl_registry.contracts import Environment, Task
from icrl_registry.errors import UnknownNameError, UsageError

GYMNASIUM_IDS = {
    "reacher-goal-v1": "icrl_bench/ReacherGoal-v1",
    "pusher-goal-v1": "icrl_bench/PusherGoal-v1",
    "pusher-goal-v2": "icrl_bench/PusherGoal-v2",
    "half-cheetah-vel-v1": "icrl_bench/HalfCheetahVel-v1",
    "ant-dir-v1": "icrl_bench/AntDir-v1",
}
SIZES = {  # O, A, H
    "reacher-goal-v1": (8, 2, 50),
    "pusher-goal-v1": (17, 7, 100),
    "pusher-goal-v2": (17, 7, 100),
    "half-cheetah-vel-v1": (17, 6, 200),
    "ant-dir-v1": (27, 8, 200),
}


def test_sizes(family, draw_tasks):
    spec = family.spec
    assert isinstance(family, Environment)
    assert (spec.id, spec.observation_size, spec.action_size, spec.horizon) == (family.id, *SIZES[family.id])
    env = family.make(draw_tasks(family, 1)[0])
    assert env.observation_space == gymnasium.spaces.Box(-np.inf, np.inf, (spec.observation_size,), np.float32)
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (spec.action_size,), np.float32)
    observation, _ = env.reset(seed=0)
    assert observation.dtype == env.step(env.action_space.low)[0].dtype == np.float32


def test_gymnasiums_checker_passes(family, draw_tasks):
    """Its only complaints are advice about unbounded observations, which Gymnasium's own bodies earn too."""
    env = gymnasium.make(GYMNASIUM_IDS[family.id], task=draw_tasks(family, 1)[0].parameters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env.unwrapped, skip_render_check=True)
    complaints = [str(warning.message) for warning in caught]
    assert [text for text in complaints if "infinity" not in text] == []


def test_ids_make_the_same_environment_as_the_contract(family, draw_tasks):
    task = draw_tasks(family, 1)[0]
    direct = family.make(task)
    registered = gymnasium.make(GYMNASIUM_IDS[family.id], task=np.array(task.parameters))
    np.testing.assert_array_equal(direct.reset(seed=2)[0], registered.reset(seed=2)[0])
    action = np.full(family.action_size, 0.5, dtype=np.float32)
    first, second = direct.step(action), registered.step(action)
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1:] == second[1:]


def test_registering_again_changes_nothing():
    before = dict(gymnasium.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_environments()
    assert dict(gymnasium.registry) == before


def test_an_id_can_name_its_module():
    """In a fresh interpreter, importing nothing but Gymnasium."""
    code = (
        "import gymnasium; name = 'icrl_bench:icrl_bench/ReacherGoal-v1';"
        "print(gymnasium.make(name, task=(0.1, 0.0)).reset(seed=0)[0].shape)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "(8,)"


def test_family_modules_import_no_simulator():
    code = (
        "import sys, icrl_plugins.environments.ant_dir, icrl_plugins.environments.pusher_goal as p;"
        "p.PusherGoal(p.PusherGoal.Config()); print('mujoco' in sys.modules, 'gymnasium' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]


def test_ids_take_the_familys_settings():
    env = gymnasium.make("icrl_bench/ReacherGoal-v1", task=(0.1, 0.0), control_weight=1.0)
    assert env.unwrapped.family.config.control_weight == 1.0
    with pytest.raises(UnknownNameError) as refused:
        gymnasium.make("icrl_bench/ReacherGoal-v1", task=(0.1, 0.0), control_wieght=1.0)
    assert "control_weight" in refused.value.hint


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (None, "no task given"),
        ((0.1,), r"shape \(1,\)"),
        ((0.1, np.nan), "not finite"),
        ("somewhere", "no task is called 'somewhere'"),
        (object(), "not a list of numbers"),
    ],
)
def test_a_bad_task_is_refused_with_the_names_of_its_parameters(task, message):
    with pytest.raises(UsageError, match=message) as refused:
        gymnasium.make("icrl_bench/ReacherGoal-v1", task=task)
    assert "goal_x (m), goal_y (m)" in refused.value.hint


@pytest.mark.parametrize("through_id", [False, True], ids=["make", "gymnasium.make"])
def test_episodes_end_at_the_horizon(family, draw_tasks, through_id):
    """Twice in a row. Standing still keeps the ant healthy, so nothing terminates before."""
    task = draw_tasks(family, 1)[0]
    env = gymnasium.make(GYMNASIUM_IDS[family.id], task=task.parameters) if through_id else family.make(task)
    action = np.zeros(family.action_size, dtype=np.float32)
    for episode in range(2):
        env.reset(seed=episode)
        ends = [env.step(action)[2:4] for _ in range(family.horizon)]
        assert ends == [(False, False)] * (family.horizon - 1) + [(False, True)]


def test_actions_beyond_the_range_are_clipped(family, draw_tasks):
    task = draw_tasks(family, 1)[0]
    inside, outside = family.make(task), family.make(task)
    inside.reset(seed=0)
    outside.reset(seed=0)
    signs = np.where(np.arange(family.action_size) % 2, 1.0, -1.0)
    for _ in range(3):
        first, second = inside.step(signs), outside.step(7.0 * signs)
        np.testing.assert_array_equal(first[0], second[0])
        assert first[1] == second[1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_actions_that_are_not_finite_are_refused(family, draw_tasks, bad):
    env = family.make(draw_tasks(family, 1)[0])
    env.reset(seed=0)
    action = np.zeros(family.action_size)
    action[-1] = bad
    with pytest.raises(ValueError, match=f"{family.id} must be finite"):
        env.step(action)


def test_actions_of_another_shape_are_refused(family, draw_tasks):
    env = family.make(draw_tasks(family, 1)[0])
    env.reset(seed=0)
    for shape in ((family.action_size + 1,), (1, family.action_size), ()):
        with pytest.raises(ValueError, match="shape"):
            env.step(np.zeros(shape))


def test_a_step_before_the_first_reset_is_refused(family, draw_tasks):
    with pytest.raises(ValueError, match="before its first reset"):
        family.make(draw_tasks(family, 1)[0]).unwrapped.step(np.zeros(family.action_size))


def test_settings_of_another_family_are_refused():
    with pytest.raises(TypeError, match="reacher-goal-v1 takes a ReacherGoalConfig"):
        ReacherGoal(PusherGoal.Config())


@pytest.mark.parametrize("family_type", [ReacherGoal, PusherGoal, PusherGoalV2, HalfCheetahVel, AntDir])
def test_every_setting_has_a_default_and_a_description(family_type):
    for field in family_type.Config.model_fields.values():
        assert field.description
        assert not field.is_required()


# --- rendering ---

RENDER = """
import sys
from icrl_plugins.environments.pusher_goal import PusherGoal
from icrl_registry.contracts import Task
from icrl_registry.errors import UsageError
frames = []
for goal_x in (0.40, 0.55):
    env = PusherGoal(PusherGoal.Config()).make(Task((0.45, -0.3, goal_x, 0.0)), render_mode="rgb_array")
    env.reset(seed=0)
    try:
        frames.append(env.render())
    except UsageError as error:
        print("refused", error.hint)
        sys.exit()
    env.close()
print("drawn", frames[0].shape, frames[0].dtype, frames[0].std() > 1, (frames[0] != frames[1]).any())
"""


def test_rgb_frames_show_the_goal_or_say_what_is_missing():
    """In an interpreter of its own, since OpenGL's backend is chosen once per process."""
    answer = subprocess.run([sys.executable, "-c", RENDER], capture_output=True, text=True, check=True)
    words = answer.stdout.strip()
    assert words == "drawn (480, 480, 3) uint8 True True" or (words.startswith("refused") and "MUJOCO_GL" in words)


def test_render_modes_are_declared_and_passed_on(family, draw_tasks):
    task = draw_tasks(family, 1)[0]
    for env in (
        family.make(task, "rgb_array"),
        gymnasium.make(GYMNASIUM_IDS[family.id], task=task.parameters, render_mode="rgb_array"),
    ):
        assert env.render_mode == "rgb_array"
        assert {"human", "rgb_array"} <= set(env.metadata["render_modes"])
        assert env.metadata["render_fps"] == round(1.0 / env.unwrapped.dt)
    assert family.make(task).render_mode is None
    with pytest.raises(ValueError, match="rgb_array"):
        family.make(task, "rgb")


def test_a_failing_renderer_says_what_to_set(monkeypatch):
    env = ReacherGoal(ReacherGoal.Config()).make(Task((0.1, 0.0)), "rgb_array").unwrapped
    env.reset(seed=0)

    def fail(mode):
        raise RuntimeError("no context")

    monkeypatch.setattr(env.mujoco_renderer, "render", fail)
    with pytest.raises(UsageError, match="no context") as refused:
        env.render()
    assert "MUJOCO_GL=egl" in refused.value.hint
