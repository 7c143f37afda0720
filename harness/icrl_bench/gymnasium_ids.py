"""Every installed environment as `gymnasium.make("icrl_bench/PusherGoal-v1", task=…)`, third parties' included.

`import icrl_bench` registers the ids (Gymnasium 1.0 and later read no entry points). Names come from package metadata, so
no plugin is imported before one of its environments is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import gymnasium
import numpy as np

from icrl_bench.gymnasium_tasks import RANDOM, ChosenTask, TaskVector, task_parameters
from icrl_registry.configuration import build_config
from icrl_registry.contracts import Environment
from icrl_registry.discovery import list_plugins, load
from icrl_registry.errors import UsageError

NAMESPACE = "icrl_bench"
_VERSIONED = re.compile(r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)-v(?P<version>\d+)")


def gymnasium_id(name: str) -> str | None:
    """`pusher-goal-v1` → `icrl_bench/PusherGoal-v1`; None for a name that carries no version."""
    match = _VERSIONED.fullmatch(name)
    if match is None:
        return None
    camel = "".join(part.capitalize() for part in match["name"].split("-"))
    return f"{NAMESPACE}/{camel}-v{match['version']}"


def register_environments() -> None:
    """Registers every installed environment; calling it again changes nothing."""
    for entry in list_plugins("environment"):
        full_id = gymnasium_id(entry.name)
        if full_id is not None and full_id not in gymnasium.registry:
            gymnasium.register(
                full_id,
                entry_point=f"{__name__}:make_environment",
                vector_entry_point=f"{__name__}:make_vector",
                kwargs={"name": entry.name},
            )


def make_environment(
    name: str, task: Any = None, render_mode: str | None = None, task_seed: int | None = None, **settings: Any
) -> gymnasium.Env[Any, Any]:
    """What `gymnasium.make` calls: the environment `name` on a task, given by its parameters, as `laptop-v2/test-003`, or as
    `random`, drawn from `task_seed`.

    `get_wrapper_attr("set_task")` and `("sample_tasks")` of what is made change the task between episodes, and so does
    `reset(options={"task": …})`. Further keywords are the environment's settings, such as `control_weight=1.0`.

    Raises:
        UsageError: no task, one of a wrong shape, or one outside the family.
    """
    return ChosenTask(_family(name, settings), task, render_mode, task_seed)


def make_vector(
    name: str, num_envs: int = 1, task: Any = None, task_seed: int | None = None, **settings: Any
) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    """What `gymnasium.make_vec` calls: `num_envs` copies stepped as one batch. `task` is one for all of them, or a list.

    Raises:
        UsageError: as `make_environment`; or a list of another length.
    """
    family = _family(name, settings)
    if isinstance(task, list):
        if len(task) != num_envs:
            raise UsageError(
                f"{name}: {len(task)} tasks for num_envs={num_envs}", "give one task, or one for each copy"
            )
        tasks = [task_parameters(family, each) for each in task]
    elif isinstance(task, str) and task == RANDOM:
        seeds = np.random.SeedSequence(task_seed).generate_state(num_envs)
        tasks = [task_parameters(family, task, int(seed)) for seed in seeds]
    else:
        tasks = [task_parameters(family, task)] * num_envs
    return TaskVector(family, tasks)


def _family(name: str, settings: Mapping[str, Any]) -> Environment:
    component = load("environment", name).component
    return cast(Environment, component(build_config(component.Config, settings, "environment")))
