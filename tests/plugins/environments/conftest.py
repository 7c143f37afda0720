"""The families with their default settings, and the start of an episode of any of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from icrl_plugins.environments.ant_dir import AntDir
from icrl_plugins.environments.half_cheetah_vel import HalfCheetahVel
from icrl_plugins.environments.mujoco_tasks import MujocoTasks
from icrl_plugins.environments.pusher_goal import PusherGoal
from icrl_plugins.environments.pusher_goal_v2 import PusherGoalV2
from icrl_plugins.environments.reacher_goal import ReacherGoal
from icrl_registry.contracts import Task

FAMILIES = (ReacherGoal, PusherGoal, PusherGoalV2, HalfCheetahVel, AntDir)


@pytest.fixture(params=FAMILIES, ids=[family.id for family in FAMILIES])
def family(request: pytest.FixtureRequest) -> MujocoTasks:
    return request.param(request.param.Config())


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MuJoCo logs its warnings into the working directory, which must not be the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def draw_tasks() -> Callable[[MujocoTasks, int], list[Task]]:
    """Different tasks of a family, always the same ones."""

    def draw(family: MujocoTasks, count: int) -> list[Task]:
        parameters = family.sample_training_parameters(count, np.random.default_rng(7))
        return [Task(tuple(row), "train", index) for index, row in enumerate(parameters)]

    return draw
