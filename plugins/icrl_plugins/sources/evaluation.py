"""What is asked of a trained policy, whichever library trained it: its return without exploration, finite numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from icrl_plugins.randomness.seeds import draw_episode_seed, episode_seeds
from icrl_registry.contracts import Array, Environment, GreedyPolicy, Task
from icrl_registry.errors import NumericalError


def episode_returns(environment: Environment, task: Task, policy: GreedyPolicy, num_episodes: int, seed: int) -> Array:
    """Undiscounted returns of `num_episodes` episodes of `policy`, played side by side; (E,) float64.

    Episode e is reset with the e-th of the seeds that `seed` starts.

    Raises:
        NumericalError: a return is not finite.
    """
    returns: Array = population_returns(environment, [task], policy, num_episodes, [seed])[0]
    return returns


def population_returns(
    environment: Environment, tasks: Sequence[Task], policy: GreedyPolicy, num_episodes: int, seeds: Sequence[int]
) -> Array:
    """`episode_returns` of K tasks at once, (K, E): `policy` gets (K·E, O), task by task.

    Raises:
        NumericalError: a return is not finite.
    """
    batch = environment.make_batch([task for task in tasks for _ in range(num_episodes)])
    generators = [episode_seeds(seed) for seed in seeds]
    returns = np.zeros(batch.num_tasks)
    try:
        observations = np.stack(
            [batch.reset(row, draw_episode_seed(generators[row // num_episodes])) for row in range(batch.num_tasks)]
        )
        active = np.ones(batch.num_tasks, dtype=np.bool_)
        while active.any():
            step = batch.step(policy(observations), active)
            returns[active] += step.rewards[active]
            active &= ~(step.terminated | step.truncated)
            observations = step.observations
    finally:
        batch.close()
    by_task = returns.reshape(len(tasks), num_episodes)
    for task, task_returns in zip(tasks, by_task, strict=True):
        if not np.isfinite(task_returns).all():
            raise NumericalError(
                f"task {task.label}: the returns of the greedy policy are {task_returns}, expected finite numbers",
                "the environment's reward is at fault (`icrl-bench plugins check ENVIRONMENT`)",
            )
    return by_task


def require_finite_policy(task: Task, steps_taken: int, tensors: Mapping[str, Array]) -> None:
    """Refuses a policy that diverged.

    Raises:
        NumericalError: a tensor has a NaN or an infinity.
    """
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise NumericalError(
                f"task {task.label}, after {steps_taken} steps of every stream: "
                f"the policy's tensor '{name}' is not finite",
                "lower the source's learning rate (--set source.learning_rate=VALUE)",
            )
