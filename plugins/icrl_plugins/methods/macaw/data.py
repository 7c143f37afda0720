"""Transitions with what MACAW's losses need beside them, and batches of them for several tasks.

Each transition of a complete episode knows the discounted return from it to the episode's end, the discount over the
steps that are left, and the episode's last observation (Mitchell et al. 2021, section 4.1). The end is where the history
was cut: after a truncation the value of the last observation stands for what would have followed, after a termination
nothing does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from icrl_plugins.methods.macaw.config import MACAWConfig
from icrl_plugins.methods.macaw.meta_learning import MetaBatch
from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.contracts import Array, BoolArray, FloatArray, LearningHistory
from icrl_registry.errors import BenchError


@dataclass(frozen=True)
class TaskTransitions:
    """N transitions of one task in order, streams one after the other. Observations and actions may be memory-mapped."""

    observations: FloatArray  # (N, O)
    actions: FloatArray  # (N, A)
    returns: FloatArray  # (N,), G_t of unscaled rewards
    discounts_to_end: FloatArray  # (N,), γ^(steps left, this one included); 0 where the episode terminated
    next_observations: FloatArray  # (N, O)
    ends: Array  # (N,) int64, the row that ends the episode

    def batch(self, rows: Array, normalisation: Normalisation) -> tuple[FloatArray, ...]:
        """The columns of `MetaBatch` for `rows` (B,), without the axis of tasks."""
        return (
            normalisation.observations(np.asarray(self.observations[rows])),
            np.asarray(self.actions[rows]),
            normalisation.rewards(self.returns[rows]),
            self.discounts_to_end[rows],
            normalisation.observations(np.asarray(self.next_observations[self.ends[rows]])),
        )


def returns_to_go(
    rewards: FloatArray, bounds: Sequence[tuple[int, int]], terminated: BoolArray, discount: float
) -> tuple[FloatArray, FloatArray, Array]:
    """Discounted returns, discounts to the end and end rows of the steps (T,) of one stream's complete episodes.

    Steps outside `bounds` get zeros.
    """
    returns, discounts = np.zeros(len(rewards)), np.zeros(len(rewards))
    ends = np.zeros(len(rewards), dtype=np.int64)
    for start, end in bounds:
        following = 0.0
        for step in range(end - 1, start - 1, -1):
            following = returns[step] = float(rewards[step]) + discount * following
        if not terminated[end - 1]:
            discounts[start:end] = discount ** np.arange(end - start, 0, -1)
        ends[start:end] = end - 1
    return returns.astype(np.float32), discounts.astype(np.float32), ends


@dataclass(frozen=True)
class TaskData:
    """One training task's transitions and the rows that batches may take."""

    transitions: TaskTransitions
    outer_rows: Array  # (N',) int64
    inner_rows: tuple[Array, ...]  # of each stream, in order

    def inner_sample(
        self, sampling: Literal["contiguous", "uniform"], count: int, generator: np.random.Generator
    ) -> Array:
        """The rows of an inner batch, (count,)."""
        if sampling == "contiguous":
            return contiguous_rows(self.inner_rows, count, generator)
        return uniform_rows(np.concatenate(self.inner_rows), count, generator)


def task_data(history: LearningHistory, config: MACAWConfig) -> TaskData:
    """What one history gives to training, or to an adaptation by a fixed batch.

    Raises:
        BenchError: no complete episode, or none that the inner batches may use.
    """
    streams, steps = history.rewards.shape
    columns: list[tuple[FloatArray, FloatArray, Array]] = []
    outer, inner = [], []
    for stream in range(streams):
        bounds, first = history.episode_bounds(stream), stream * steps
        returns, discounts, ends = returns_to_go(
            np.asarray(history.rewards[stream]), bounds, history.terminated[stream], config.discount
        )
        columns.append((returns, discounts, ends + first))
        if not bounds:
            continue
        outer.append(first + np.arange(bounds[0][0], bounds[-1][1], config.history_stride))
        part = bounds[int(config.inner_from * len(bounds)) : max(1, round(config.inner_to * len(bounds)))]
        rows = np.arange(part[0][0], part[-1][1], config.history_stride) if part else np.zeros(0, np.int64)
        inner.append(first + rows[discounts[rows] <= config.inner_max_discount_to_end])
    if not outer:
        raise BenchError(
            f"the history of {history.task.label} has no complete episode",
            "give the source more steps: --set source.total_steps=…",
        )
    if not any(len(rows) for rows in inner):
        raise BenchError(
            f"no transition of {history.task.label} may enter an inner batch",
            "raise method.inner_max_discount_to_end, or widen method.inner_from … method.inner_to",
        )
    returns, discounts, ends = (np.concatenate(column) for column in zip(*columns, strict=True))
    transitions = TaskTransitions(
        observations=_flat(history.observations),
        actions=_flat(history.actions),
        returns=returns,
        discounts_to_end=discounts,
        next_observations=_flat(history.next_observations),
        ends=ends,
    )
    return TaskData(transitions, np.concatenate(outer), tuple(rows for rows in inner if len(rows)))


def reward_scale(tasks: Sequence[TaskData]) -> float:
    """1 / root mean square of the returns-to-go over all tasks' rows; 1 if they are all zero."""
    squares = sum(float(np.square(task.transitions.returns[task.outer_rows], dtype=np.float64).sum()) for task in tasks)
    count = sum(len(task.outer_rows) for task in tasks)
    return float(np.float32(np.sqrt(count / squares))) if squares > 0 else 1.0


def contiguous_rows(streams: Sequence[Array], count: int, generator: np.random.Generator) -> Array:
    """A block of `count` successive rows of one stream (drawn by length), wrapping around in a shorter one."""
    lengths = np.array([len(rows) for rows in streams])
    rows = streams[int(generator.choice(len(lengths), p=lengths / lengths.sum()))]
    start = int(generator.integers(max(1, len(rows) - count + 1)))
    return rows[(start + np.arange(count)) % len(rows)]


def uniform_rows(rows: Array, count: int, generator: np.random.Generator) -> Array:
    """`count` of `rows`, each at most once, or all of them as evenly repeated as can be if they are fewer."""
    return np.resize(generator.permutation(rows), count) if len(rows) <= count else generator.choice(rows, count, False)


def stack(parts: Sequence[tuple[FloatArray, ...]]) -> MetaBatch:
    """The batches of K tasks as tensors on the CPU, with the axis of tasks first."""
    return MetaBatch(*(torch.from_numpy(np.stack(column)) for column in zip(*parts, strict=True)))


class BatchSampler:
    """The meta-batches of training: number n is a function of n alone."""

    def __init__(
        self, tasks: Sequence[TaskData], normalisation: Normalisation, config: MACAWConfig, seed: np.random.SeedSequence
    ) -> None:
        self.tasks = tasks
        self.normalisation = normalisation
        self.config = config
        self._seed = seed

    def batch(self, number: int) -> tuple[MetaBatch, MetaBatch]:
        """Inner and outer batch of meta-update `number`, on the CPU."""
        config = self.config
        generator = np.random.default_rng(child_seed(self._seed, number))
        count = min(config.tasks_per_update, len(self.tasks))
        inner, outer = [], []
        for index in generator.choice(len(self.tasks), count, replace=False):
            task = self.tasks[int(index)]
            rows = task.inner_sample(config.inner_sampling, config.inner_batch_size, generator)
            inner.append(task.transitions.batch(rows, self.normalisation))
            rows = uniform_rows(task.outer_rows, config.outer_batch_size, generator)
            outer.append(task.transitions.batch(rows, self.normalisation))
        return stack(inner), stack(outer)


def _flat(column: FloatArray) -> FloatArray:
    """(S, T, F) → (S·T, F), a view of contiguous data."""
    flat: FloatArray = column.reshape(-1, column.shape[-1])
    return flat
