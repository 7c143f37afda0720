"""Policies without memory played on tasks: what they reach, and how soon two tasks can be told apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icrl_bench.seeding import certificate_seed, reset_seed
from icrl_registry.contracts import Environment, FloatArray, Task
from icrl_registry.errors import NumericalError

Policy = Callable[[FloatArray], FloatArray]
"""Observations (N, O) → actions (N, A) in [-1, 1]."""


@dataclass(frozen=True)
class Played:
    """What policies reached, by task and episode."""

    returns: NDArray[np.float64]  # (K, E), undiscounted
    successes: NDArray[np.float64] | None  # (K, E) in [0, 1]; None where the environment has no measure of success


def play(
    environment: Environment,
    tasks: Sequence[Task],
    policies: Sequence[Policy],
    episodes: int,
    data_seed: int,
    report_steps: Callable[[int], None] = lambda _: None,
) -> Played:
    """Plays `policies[k]` for `episodes` episodes of `tasks[k]`; episode e is reset as in any row's adaptation.

    Raises:
        NumericalError: a return is not finite.
    """
    count = len(tasks)
    batch = environment.make_batch([task for task in tasks for _ in range(episodes)])  # rows k·E + e
    returns = np.zeros(batch.num_tasks)
    successes = np.full(batch.num_tasks, np.nan)
    active = np.ones(batch.num_tasks, dtype=np.bool_)
    try:
        observations = np.stack(
            [
                batch.reset(row, reset_seed(data_seed, tasks[row // episodes], row % episodes))
                for row in range(batch.num_tasks)
            ]
        )  # (K·E, O)
        while active.any():
            by_task = observations.reshape(count, episodes, -1)
            actions = np.concatenate([policy(part) for policy, part in zip(policies, by_task, strict=True)])
            step = batch.step(np.clip(actions, -1.0, 1.0).astype(np.float32), active)
            report_steps(int(active.sum()))
            returns[active] += step.rewards[active]
            ended = active & (step.terminated | step.truncated)
            if (found := getattr(step, "successes", None)) is not None:
                successes[ended] = found[ended]
            active &= ~ended
            observations = step.observations
    finally:
        batch.close()
    by_episode = returns.reshape(count, episodes)
    for task, row in zip(tasks, by_episode, strict=True):
        if not np.isfinite(row).all():
            raise NumericalError(
                f"task {task.label}: a policy's returns are {row}, expected finite numbers",
                "the environment's reward is at fault: `icrl-bench plugins check ID`",
            )
    measured = not np.isnan(successes).any()
    return Played(by_episode, successes.reshape(count, episodes) if measured else None)


def steps_to_tell_apart(
    environment: Environment, tasks: Sequence[Task], data_seed: int, sequences: int = 5
) -> NDArray[np.float64]:
    """For each sequence of random actions and each pair of tasks the first step (from 1) at which their rewards differ.

    All tasks are reset with one seed and get the same actions. Rewards differ where they are a hundredth of the rewards'
    standard deviation apart; H + 1 where they never do. (sequences, K·(K − 1)/2).
    """
    spec = environment.spec
    generator = np.random.default_rng(certificate_seed(data_seed))
    first, second = np.triu_indices(len(tasks), 1)
    batch = environment.make_batch(tasks)
    steps = np.full((sequences, len(first)), float(spec.horizon + 1))
    try:
        for sequence in range(sequences):
            seed = int(generator.integers(2**31))
            for row in range(len(tasks)):
                batch.reset(row, seed)
            rewards = np.zeros((spec.horizon, len(tasks)))
            active = np.ones(len(tasks), dtype=np.bool_)
            length = 0
            while active.all() and length < spec.horizon:
                action = generator.uniform(-1.0, 1.0, spec.action_size).astype(np.float32)
                step = batch.step(np.tile(action, (len(tasks), 1)), active)
                rewards[length] = step.rewards
                active &= ~(step.terminated | step.truncated)
                length += 1
            differ = np.abs(rewards[:length, first] - rewards[:length, second]) > 0.01 * rewards[:length].std()
            steps[sequence] = np.where(differ.any(axis=0), differ.argmax(axis=0) + 1.0, float(spec.horizon + 1))
    finally:
        batch.close()
    return steps
