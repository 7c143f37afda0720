"""What the checks of an environment work with: tasks drawn from the family, action sequences, and episodes played with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from icrl_registry.actions import for_gymnasium
from icrl_registry.contracts import Array, BatchedEnvironment, BatchedStep, Environment, Task

NUM_TASKS = 8


class Trajectory(NamedTuple):
    """One episode: T steps, or fewer if it ended."""

    observations: Array  # (T + 1, O), that of the reset first
    rewards: Array  # (T,)
    terminated: Array  # (T,)
    truncated: Array  # (T,)
    infos: list[dict[str, Any]]  # T + 1


def size_of(environment: Environment) -> int | None:
    """`num_tasks()`, of families that don't inherit the contract's default too."""
    return environment.num_tasks() if hasattr(environment, "num_tasks") else None


def drawn_tasks(environment: Environment) -> list[Task]:
    """Some tasks of the family, the same ones every time."""
    generator = np.random.default_rng(0)
    drawn = [environment.sample_task_parameters(generator) for _ in range(NUM_TASKS)]
    return [Task(tuple(float(value) for value in row), "test", index) for index, row in enumerate(drawn)]


def distinct_tasks(tasks: Sequence[Task]) -> list[Task]:
    """Without the repeats that a finite family draws."""
    return list({task.parameters: task for task in reversed(tasks)}.values())[::-1]


def action_sequences(environment: Environment, number: int = 0) -> dict[str, Array]:
    """Action sequences of one episode each, (H, A) float32; of discrete actions, rows that choose one."""
    shape = (environment.spec.horizon, environment.spec.action_size)
    random = np.random.default_rng(4 + number).uniform(-1, 1, size=shape).astype(np.float32)
    return {"random": random, "largest": np.ones(shape, np.float32), "alternating": np.sign(random)}


def play(single: Any, actions: Sequence[Array] | Array, seed: int) -> Trajectory:
    """An episode of a Gymnasium environment that is reset with `seed`, with `actions` (T, A) until it ends."""
    observation, info = single.reset(seed=seed)
    observations, infos = [np.array(observation)], [dict(info)]
    outcomes: list[tuple[float, bool, bool]] = []
    for action in actions:
        observation, reward, terminated, truncated, info = single.step(for_gymnasium(action, single.action_space))
        observations.append(np.array(observation))
        infos.append(dict(info))
        outcomes.append((float(reward), bool(terminated), bool(truncated)))
        if terminated or truncated:
            break
    rewards, terminations, truncations = (np.array(column) for column in zip(*outcomes, strict=True))
    return Trajectory(np.stack(observations), rewards, terminations, truncations, infos)


def episode_of(environment: Environment, task: Task, actions: Array) -> Trajectory:
    """An episode of `task`, whose reset has the same seed every time."""
    single = environment.make(task)
    episode = play(single, actions, seed=3)
    single.close()
    return episode


def step_together(batch: BatchedEnvironment, actions: Array) -> list[BatchedStep]:
    """All rows with the same actions (T, A), until one ends."""
    steps: list[BatchedStep] = []
    for action in actions:
        if steps and (steps[-1].terminated | steps[-1].truncated).any():
            break
        steps.append(batch.step(np.tile(action, (batch.num_tasks, 1)), np.ones(batch.num_tasks, np.bool_)))
    return steps
