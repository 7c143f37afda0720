"""Which task a Gymnasium environment plays: named, drawn, changed between episodes, one alone or many side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from icrl_registry.actions import executed, one_hot
from icrl_registry.contracts import Array, Environment, Task
from icrl_registry.errors import BenchError, UsageError

RANDOM = "random"
Parameters = tuple[float, ...]


def task_parameters(environment: Environment, task: Any, task_seed: int | None = None) -> Parameters:
    """The parameters of a task that is given as numbers, as `laptop-v2/test-003`, or as `random` (drawn from `task_seed`).

    Raises:
        UsageError: there is no such task, or it lies outside the family; the hint says what to write.
    """
    names = environment.task_parameter_names
    hint = f"give task=({', '.join(names)}), task='{RANDOM}', or a protocol's, such as task='{_example(environment)}'"
    if task is None:
        raise UsageError(f"{environment.id}: no task given", hint)
    if isinstance(task, str):
        if task == RANDOM:
            drawn = environment.sample_task_parameters(np.random.default_rng(task_seed))
            return tuple(float(value) for value in drawn)
        return _of_protocol(environment, task, hint)
    try:
        values = np.asarray(task, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{environment.id}: the task {task!r} is not a list of numbers", hint) from error
    if values.shape != (len(names),):
        raise UsageError(f"{environment.id}: the task has shape {values.shape}, not ({len(names)},)", hint)
    if not np.isfinite(values).all():
        raise UsageError(f"{environment.id}: the task {task!r} is not finite", hint)
    reason = environment.why_outside(values)
    if reason is not None:
        raise UsageError(f"{environment.id}: the task {values.tolist()} is none of the family: {reason}", hint)
    return tuple(float(value) for value in values)


def _example(environment: Environment) -> str:
    """A task's name under the protocol that the environment is run by unless told otherwise."""
    from icrl_registry.protocols.loading import protocol_for

    try:
        return f"{protocol_for(environment.id, None).id}/test-000"
    except BenchError:
        return "laptop-v2/test-000"


def _of_protocol(environment: Environment, label: str, hint: str) -> Parameters:
    """`laptop-v2/test-003`."""
    from icrl_registry.protocols.loading import load_protocol
    from icrl_registry.protocols.splits import draw_tasks

    name, slash, wanted = label.rpartition("/")
    if not slash:
        raise UsageError(f"{environment.id}: no task is called {label!r}", hint)
    plan = load_protocol(name).plan_for(environment.id)
    tasks = {task.label: task for tasks in draw_tasks(environment, plan.split).values() for task in tasks}
    if wanted not in tasks:
        raise UsageError(f"{name} has no task {wanted!r} of {environment.id}", f"its tasks: {', '.join(list(tasks))}")
    return tasks[wanted].parameters


class ChosenTask(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One environment whose task can be changed between episodes: by `set_task`, or by `reset(options={"task": …})`."""

    def __init__(self, family: Environment, task: Any, render_mode: str | None, task_seed: int | None) -> None:
        self.family, self._render_mode, self._drawn = family, render_mode, np.random.default_rng(task_seed)
        self._parameters = task_parameters(family, task, task_seed)
        self._pending: Parameters | None = None
        super().__init__(family.make(Task(self._parameters), render_mode))

    @property
    def task(self) -> Parameters:
        """The parameters of the task that is played."""
        return self._parameters

    def sample_tasks(self, count: int) -> list[Parameters]:
        """`count` tasks drawn from the family, each for `set_task`."""
        return [tuple(float(value) for value in self.family.sample_task_parameters(self._drawn)) for _ in range(count)]

    def set_task(self, task: Any) -> None:
        """The task of the next episode and those after it."""
        self._pending = task_parameters(self.family, task)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if options and "task" in options:
            options = dict(options)
            self.set_task(options.pop("task"))
        if self._pending is not None and self._pending != self._parameters:
            self.env.close()
            self._parameters = self._pending
            self.env = self.family.make(Task(self._parameters), self._render_mode)
        self._pending = None
        return self.env.reset(seed=seed, options=options or None)


class TaskVector(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Many tasks of a family stepped as one batch. A row whose episode ended is reset by the next step, which pays nothing."""

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012, Gymnasium's form

    def __init__(self, family: Environment, tasks: Sequence[Parameters]) -> None:
        self.tasks, self._spec = list(tasks), family.spec
        self.num_envs = len(self.tasks)
        single = family.make(Task(self.tasks[0]))
        self.single_observation_space, self.single_action_space = single.observation_space, single.action_space
        single.close()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._batch = family.make_batch(
            [Task(parameters, "test", index) for index, parameters in enumerate(self.tasks)]
        )
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Starts all rows; row i with `seed + i`, or with its own of a list, or with one that is drawn."""
        if isinstance(seed, int):
            self._np_random = np.random.default_rng(seed)
        seeds = (
            [seed + row for row in range(self.num_envs)] if isinstance(seed, int) else seed or [None] * self.num_envs
        )
        self._ended[:] = False
        rows = [self._batch.reset(row, self._drawn() if one is None else one) for row, one in enumerate(seeds)]
        return np.stack(rows), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        playing = ~self._ended
        rows = one_hot(actions, self._spec.action_size) if self._spec.actions == "discrete" else np.asarray(actions)
        step = self._batch.step(executed(rows.astype(np.float32), self._spec), playing)
        observations = np.array(step.observations)
        for row in map(int, np.flatnonzero(self._ended)):
            observations[row] = self._batch.reset(row, self._drawn())
        self._ended = playing & (step.terminated | step.truncated)
        rewards = np.where(playing, step.rewards, 0.0)
        return observations, rewards, step.terminated & playing, step.truncated & playing, {}

    def close_extras(self, **kwargs: Any) -> None:
        self._batch.close()

    def _drawn(self) -> int:
        return int(self.np_random.integers(2**31))
