"""The classes that `gymnasium.make("icrl_bench/…")` constructs; `gymnasium_ids.py` registers them by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from icrl_plugins.environments.ant_dir import AntDir
from icrl_plugins.environments.gymnasium_env import MujocoTaskEnv
from icrl_plugins.environments.half_cheetah_vel import HalfCheetahVel
from icrl_plugins.environments.mujoco_tasks import MujocoTasks
from icrl_plugins.environments.pusher_goal import PusherGoal
from icrl_plugins.environments.reacher_goal import ReacherGoal
from icrl_registry.configuration import build_config
from icrl_registry.contracts import Array


class RegisteredEnv(MujocoTaskEnv):
    """A `MujocoTaskEnv` whose family is known from its class: further keywords are the family's settings."""

    family_type: ClassVar[type[MujocoTasks]]

    def __init__(
        self,
        task: Sequence[float] | Array | None = None,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
        **settings: Any,
    ) -> None:
        config = build_config(self.family_type.Config, settings, "environment")
        super().__init__(self.family_type(config), task, render_mode, width, height)


class ReacherGoalEnv(RegisteredEnv):
    """`icrl_bench/ReacherGoal-v1`."""

    family_type = ReacherGoal


class PusherGoalEnv(RegisteredEnv):
    """`icrl_bench/PusherGoal-v1`."""

    family_type = PusherGoal


class HalfCheetahVelEnv(RegisteredEnv):
    """`icrl_bench/HalfCheetahVel-v1`."""

    family_type = HalfCheetahVel


class AntDirEnv(RegisteredEnv):
    """`icrl_bench/AntDir-v1`."""

    family_type = AntDir
