"""Every installed environment as `gymnasium.make("icrl_bench/PusherGoal-v1", task=…)`, third parties' included.

`import icrl_bench` registers the ids (Gymnasium 1.0 and later read no entry points). Names come from package metadata, so
no plugin is imported before one of its environments is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from icrl_registry.configuration import build_config
from icrl_registry.contracts import Task
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
            gymnasium.register(full_id, entry_point=f"{__name__}:make_environment", kwargs={"name": entry.name})


def make_environment(
    name: str, task: Sequence[float] | None = None, render_mode: str | None = None, **settings: Any
) -> gymnasium.Env[Any, Any]:
    """What `gymnasium.make` calls: the environment `name` on the task with these parameters.

    Further keywords are the environment's settings, such as `control_weight=1.0`.

    Raises:
        UsageError: no task, or one of a wrong shape.
    """
    component = load("environment", name).component
    environment = component(build_config(component.Config, settings, "environment"))
    parameters = _task_parameters(name, task, environment.task_parameter_names)
    made: gymnasium.Env[Any, Any] = environment.make(Task(parameters), render_mode)
    return made


def _task_parameters(name: str, task: Sequence[float] | None, names: Sequence[str]) -> tuple[float, ...]:
    hint = f"give task=({', '.join(names)})"
    if task is None:
        raise UsageError(f"{name}: no task given", hint)
    try:
        values = np.asarray(task, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: the task {task!r} is not a list of numbers", hint) from error
    if values.shape != (len(names),):
        raise UsageError(f"{name}: the task has shape {values.shape}, not ({len(names)},)", hint)
    if not np.isfinite(values).all():
        raise UsageError(f"{name}: the task {task!r} is not finite", hint)
    return tuple(float(value) for value in values)
