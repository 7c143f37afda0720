"""Draws or lists the tasks of every split, and holds them to the frozen hash.

Parameters are rounded to 6 decimals before they are used or hashed, so that the last bit of a cosine on another machine
changes neither a task nor its hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from icrl_registry.contracts import SPLITS, Array, Environment, Split, Task
from icrl_registry.errors import BenchError, UsageError
from icrl_registry.protocols.model import SplitPlan

DECIMALS = 6
ATTEMPTS = 20_000

Distance = Callable[[Array, Array], float]


def draw_tasks(environment: Environment, plan: SplitPlan) -> dict[Split, tuple[Task, ...]]:
    """The tasks of every split: those that the plan lists; then training tasks, drawn as the environment stratifies them; then
    validation and test tasks by rejection. Each that is drawn is at least `plan.minimum_distance` from every other task.

    Raises:
        UsageError: the tasks don't fit, are none of the family, or stand in two splits. BenchError: their hash is not the
            frozen one.
    """
    rows = _listed(environment, plan)
    _require_room(environment, plan, rows)
    generator = np.random.default_rng(plan.seed)
    for split in SPLITS:
        count = plan.asked_for(split)
        if not isinstance(count, int):
            continue
        others = [row for members in rows.values() for row in members]
        if split == "train" and not others:
            rows[split] = _draw_training(environment, plan, count, generator)
            continue
        drawn: list[Array] = []
        for _ in range(count):
            drawn.append(_draw_apart(environment, [*others, *drawn], plan, generator))
        rows[split] = drawn
    rows |= {split: rows["train"] for split in SPLITS if plan.asked_for(split) == "train"}
    tasks = {
        split: tuple(Task(tuple(map(float, row)), split, index) for index, row in enumerate(rows[split]))
        for split in SPLITS
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


def _listed(environment: Environment, plan: SplitPlan) -> dict[Split, list[Array]]:
    """The splits whose tasks the plan lists, or takes all of."""
    rows: dict[Split, list[Array]] = {}
    for split in SPLITS:
        asked = plan.asked_for(split)
        if asked == "all":
            every = environment.all_task_parameters()
            if every is None:
                hint = f"write how many {split} tasks, or a list of them"
                raise UsageError(f"{environment.id} doesn't list its tasks, so that `all` of them are unknown", hint)
            rows[split] = [np.round(row, DECIMALS) for row in every]
        elif isinstance(asked, tuple):
            rows[split] = [_checked(environment, split, row) for row in asked]
    _require_apart(environment, plan, rows)
    return rows


def _checked(environment: Environment, split: Split, parameters: Sequence[float]) -> Array:
    """A listed task's parameters, (P,)."""
    names = environment.task_parameter_names
    if len(parameters) != len(names):
        raise UsageError(
            f"the {split} task {list(parameters)} of {environment.id} has {len(parameters)} parameters, not {len(names)}",
            f"give each of {', '.join(names)}",
        )
    row: Array = np.round(np.asarray(parameters, dtype=np.float64), DECIMALS)
    reason = environment.why_outside(row)
    if reason is not None:
        raise UsageError(f"the {split} task {row.tolist()} is none of {environment.id}: {reason}", "correct the list")
    return row


def _require_apart(environment: Environment, plan: SplitPlan, rows: Mapping[Split, Sequence[Array]]) -> None:
    """That no listed task stands twice in a split, nor in two splits that are not equal by name."""
    places: dict[tuple[float, ...], Split] = {}
    for split, members in rows.items():
        keys = [tuple(row.tolist()) for row in members]
        for key in keys:
            other = places.get(key)
            equal = other is not None and "all" == plan.asked_for(split) == plan.asked_for(other)
            if keys.count(key) > 1 or (other is not None and not equal):
                raise UsageError(
                    f"{environment.id}: the task {list(key)} is listed twice, in {other or split} and {split}",
                    f'list it once; write {split} = "train" to make the splits equal',
                )
        places |= dict.fromkeys(keys, split)


def _require_room(environment: Environment, plan: SplitPlan, rows: Mapping[Split, Sequence[Array]]) -> None:
    """That a finite family has as many tasks as are asked for."""
    size = environment.num_tasks() if hasattr(environment, "num_tasks") else None
    counts = [count for split in SPLITS if isinstance(count := plan.asked_for(split), int)]
    listed = len({tuple(row.tolist()) for members in rows.values() for row in members})
    if size is not None and counts and sum(counts) + listed > size:
        raise UsageError(
            f"{environment.id} has {size} tasks, but {sum(counts) + listed} different ones are asked for",
            'ask for fewer in the protocol\'s split; train = "all", validation = "train", test = "train" takes all of them',
        )


def _draw_training(
    environment: Environment, plan: SplitPlan, count: int, generator: np.random.Generator
) -> list[Array]:
    for _ in range(ATTEMPTS):
        drawn = environment.sample_training_parameters(count, generator)
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
    total = sum(count for split in SPLITS if isinstance(count := plan.asked_for(split), int))
    return UsageError(
        f"{environment.id}: {total} tasks with distances above {plan.minimum_distance} were not found in {ATTEMPTS} attempts",
        "lower minimum_distance or the number of tasks in the protocol",
    )
