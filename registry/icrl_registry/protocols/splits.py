"""Draws the tasks of a split and holds them to the frozen hash.

Parameters are rounded to 6 decimals before they are used or hashed, so that the last bit of a cosine on another machine
changes neither a task nor its hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import numpy as np

from icrl_registry.contracts import SPLITS, Array, Environment, Split, Task
from icrl_registry.errors import BenchError, UsageError
from icrl_registry.protocols.model import SplitPlan

DECIMALS = 6
ATTEMPTS = 20_000

Distance = Callable[[Array, Array], float]


def draw_tasks(environment: Environment, plan: SplitPlan) -> dict[Split, tuple[Task, ...]]:
    """Training tasks first (as the environment stratifies them), then validation and test tasks by rejection, each at
    least `plan.minimum_distance` from every other task.

    Raises:
        UsageError: the tasks don't fit. BenchError: their hash is not the frozen one.
    """
    generator = np.random.default_rng(plan.seed)
    accepted = _draw_training(environment, plan, generator)
    for _ in range(plan.validation + plan.test):
        accepted.append(_draw_apart(environment, accepted, plan, generator))
    bounds = np.cumsum([0, plan.train, plan.validation, plan.test])
    tasks = {
        split: tuple(
            Task(tuple(float(value) for value in parameters), split, index)
            for index, parameters in enumerate(accepted[bounds[position] : bounds[position + 1]])
        )
        for position, split in enumerate(SPLITS)
    }
    if plan.sha256 is not None and hash_tasks(tasks) != plan.sha256:
        raise BenchError(
            f"the tasks drawn for {environment.id} differ from the protocol's frozen split",
            "the environment's task distribution has changed: give it a new version, and the protocol one too",
        )
    return tasks


def hash_tasks(tasks: dict[Split, tuple[Task, ...]]) -> str:
    """sha256 over all task parameters in order, as decimal text with 6 decimals."""
    rows = [
        [split, *(f"{value:.{DECIMALS}f}" for value in task.parameters)] for split in SPLITS for task in tasks[split]
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def spread_evenly(tasks: Sequence[Task], count: int | None) -> tuple[Task, ...]:
    """`count` of the tasks at even spacing (all if None): stratified tasks stay spread out."""
    if count is None or count >= len(tasks):
        return tuple(tasks)
    return tuple(tasks[int(position)] for position in np.linspace(0, len(tasks) - 1, count).round())


def _draw_training(environment: Environment, plan: SplitPlan, generator: np.random.Generator) -> list[Array]:
    for _ in range(ATTEMPTS):
        drawn = environment.sample_training_parameters(plan.train, generator)
        candidates = [np.round(np.asarray(row, dtype=np.float64), DECIMALS) for row in drawn]
        if all(
            _is_apart(environment.task_distance, row, candidates[:i], plan.minimum_distance)
            for i, row in enumerate(candidates)
        ):
            return candidates
    raise _too_crowded(environment, plan)


def _draw_apart(
    environment: Environment, accepted: Sequence[Array], plan: SplitPlan, generator: np.random.Generator
) -> Array:
    for _ in range(ATTEMPTS):
        candidate = np.round(np.asarray(environment.sample_task_parameters(generator), dtype=np.float64), DECIMALS)
        if _is_apart(environment.task_distance, candidate, accepted, plan.minimum_distance):
            return candidate
    raise _too_crowded(environment, plan)


def _is_apart(distance: Distance, candidate: Array, others: Sequence[Array], minimum: float) -> bool:
    return all(distance(candidate, other) > minimum for other in others)


def _too_crowded(environment: Environment, plan: SplitPlan) -> UsageError:
    total = plan.train + plan.validation + plan.test
    return UsageError(
        f"{environment.id}: {total} tasks with distances above {plan.minimum_distance} were not found in {ATTEMPTS} attempts",
        "lower minimum_distance or the number of tasks in the protocol",
    )
