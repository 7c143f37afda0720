"""The loop in which an agent meets tasks: the harness owns the environments, the seeds and the meter.

All tasks advance together, one environment step at a time, so an agent with a batched model makes one model step per
environment step. A task whose episode ends starts its next one at once and simply continues; a task that has had all its
episodes becomes inactive and is neither stepped nor metered.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from icrl_registry.actions import executed
from icrl_registry.contracts import (
    AdaptationSetting,
    Agent,
    Array,
    BatchedEnvironment,
    BatchedStep,
    BoolArray,
    EnvironmentSpec,
    FloatArray,
    Task,
    Transitions,
)
from icrl_registry.errors import NumericalError, PluginError

#: Episodes whose rewards are kept step by step: what a sequence model learns of a task, it learns mostly within the first one.
TRACED_EPISODES = 3

RewardView = Literal["true", "shuffled", "zero"]


class Meter:
    """Counts environment steps, one per task and step; nobody but the harness holds it.

    The count lives in `counters[name]`, so that it can be kept with a training's progress and survive an interruption.
    """

    def __init__(self, counters: dict[str, int] | None = None, name: str = "steps") -> None:
        self._counters = counters if counters is not None else {}
        self._name = name

    @property
    def steps(self) -> int:
        """Steps counted so far."""
        return self._counters.get(self._name, 0)

    def add(self, steps: int) -> None:
        """Counts `steps` more."""
        self._counters[self._name] = self.steps + steps


@dataclass(frozen=True)
class RolloutResult:
    """What the agent achieved in every episode, (K, E): undiscounted return, length, and success in [0, 1].

    `successes` is NaN where the environment measured none, in all episodes if it has no measure. `step_rewards` are those of
    the first `TRACED_EPISODES` episodes, step by step, as means over the tasks: 0 counts for a task whose episode is over, so
    that a row sums to the mean return of its episode; None where nobody looked.
    """

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    successes: NDArray[np.float64]
    step_rewards: NDArray[np.float64] | None = None  # (min(E, TRACED_EPISODES), H)


class MeteredBatch(BatchedEnvironment):
    """Another batch, with every step counted."""

    def __init__(self, batch: BatchedEnvironment, meter: Meter) -> None:
        self.batch = batch
        self.meter = meter
        self.num_tasks = batch.num_tasks

    def reset(self, row: int, seed: int) -> FloatArray:
        return self.batch.reset(row, seed)

    def step(self, actions: FloatArray, active: BoolArray) -> BatchedStep:
        self.meter.add(int(active.sum()))
        return self.batch.step(actions, active)

    def close(self) -> None:
        self.batch.close()

    def save(self) -> Mapping[str, Array] | None:
        return self.batch.save()

    def restore(self, state: Mapping[str, Array]) -> None:
        self.batch.restore(state)


def rollout(
    agent: Agent,
    batch: BatchedEnvironment,
    spec: EnvironmentSpec,
    tasks: Sequence[Task],
    setting: AdaptationSetting,
    reset_seed: Callable[[Task, int], int],
    rewards: RewardView = "true",
    report_steps: Callable[[int], None] = lambda _: None,
) -> RolloutResult:
    """Lets `agent` adapt to `tasks` for `setting.num_episodes` episodes each.

    `rewards` changes what the agent is shown, never what is recorded: "shuffled" shows each task the reward of another that is
    still played.

    Raises:
        NumericalError: a reward, observation or action that is not finite, with task, episode and step.
        PluginError: actions of a wrong shape, or no numbers.
    """
    count, episodes = len(tasks), setting.num_episodes
    result = RolloutResult(
        np.zeros((count, episodes)), np.zeros((count, episodes), dtype=np.int64), np.full((count, episodes), np.nan)
    )
    traced = np.zeros((min(episodes, TRACED_EPISODES), spec.horizon))
    episode = np.zeros(count, dtype=np.int64)
    active = np.ones(count, dtype=np.bool_)
    where = _Place(tasks, episode, result.lengths)
    agent.begin(setting)
    observations = np.stack([batch.reset(row, reset_seed(task, 0)) for row, task in enumerate(tasks)])  # (K, O)
    where.check("reset observation", observations, active)
    while active.any():
        actions = _checked_actions(agent.act(observations), count, spec, where, active)
        step = batch.step(actions, active)
        where.check("observation", step.observations, active)
        where.check("reward", step.rewards, active)
        rows = np.flatnonzero(active)
        result.returns[rows, episode[rows]] += step.rewards[rows].astype(np.float64)
        _trace(traced, step.rewards[rows], episode[rows], result.lengths[rows, episode[rows]])
        result.lengths[rows, episode[rows]] += 1
        shown = _shown_rewards(step.rewards, rewards, active)
        ended = active & (step.terminated | step.truncated)
        following = step.observations.copy()  # what the agent is given may be changed by it
        agent.observe(
            Transitions(observations, actions, shown, step.observations, step.terminated, step.truncated, active.copy())
        )
        report_steps(len(rows))
        observations = following
        for row in map(int, np.flatnonzero(ended)):
            if step.successes is not None:
                result.successes[row, episode[row]] = step.successes[row]
            episode[row] += 1
            active[row] = episode[row] < episodes
            if active[row]:
                observations[row] = batch.reset(row, reset_seed(tasks[row], int(episode[row])))
        where.check("reset observation", observations, active)
    return replace(result, step_rewards=traced / count)


def _trace(traced: NDArray[np.float64], rewards: FloatArray, episodes: Array, steps: Array) -> None:
    """Adds rewards, each of one task in its episode and step (from 0), to `traced`, where it has a place for them."""
    kept = (episodes < traced.shape[0]) & (steps < traced.shape[1])
    np.add.at(traced, (episodes[kept], steps[kept]), rewards[kept].astype(np.float64))


@dataclass(frozen=True)
class _Place:
    """Says where a number went bad."""

    tasks: Sequence[Task]
    episode: NDArray[np.int64]  # (K,)
    lengths: NDArray[np.int64]  # (K, E)

    def check(self, what: str, values: NDArray[Any], active: BoolArray) -> None:
        """`values` (K, …), of which the rows of finished tasks don't matter."""
        if np.isfinite(values).all():
            return
        finite = np.isfinite(values.reshape(len(self.tasks), -1)).all(axis=1)
        for row in map(int, np.flatnonzero(active & ~finite)):
            step = self.lengths[row, self.episode[row]]
            raise NumericalError(
                f"{what} is not finite: task {self.tasks[row].label}, episode {self.episode[row]}, step {step}",
                "an action's fault: look at the method's outputs; the environment's: `icrl-bench plugins check ID`",
            )


def _checked_actions(chosen: Any, count: int, spec: EnvironmentSpec, where: _Place, active: BoolArray) -> FloatArray:
    """What is executed of what an agent returned, (K, A)."""
    shape = (count, spec.action_size)
    try:
        actions = np.asarray(chosen, dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:  # a ragged list, or a tensor that still needs its gradient
        raise PluginError(
            f"the agent's actions are no array of numbers: {error}", "act must return a NumPy array (K, A)"
        ) from error
    if actions.shape != shape:
        raise PluginError(
            f"the agent returned actions of shape {actions.shape}, expected {shape}", "act must return (K, A)"
        )
    where.check("action", actions, active)
    return executed(actions, spec)


def _shown_rewards(rewards: FloatArray, view: RewardView, active: BoolArray) -> FloatArray:
    """What the agent is shown of `rewards` (K,). Shuffled: the tasks that are still played swap theirs in a ring; the
    last one left has nobody to swap with and is shown zero."""
    if view == "true":
        return rewards
    shown = np.zeros_like(rewards)
    if view == "shuffled" and active.sum() > 1:
        shown[active] = np.roll(rewards[active], 1)
    elif view == "shuffled":
        warnings.warn(
            "adapt.rewards=shuffled: one task is left, with nobody's rewards to be shown; it is shown zeros",
            stacklevel=2,
        )
    return shown
