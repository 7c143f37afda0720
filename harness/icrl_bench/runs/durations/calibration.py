"""How fast this machine is: a fixed piece of arithmetic, and random actions in an environment, a second each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import numpy as np

from icrl_registry.contracts import Environment, Task

Clock = Callable[[], float]
SECONDS = 1.0


def rounds_per_second(clock: Clock = time.perf_counter, seconds: float = SECONDS) -> float:
    """Rounds of a fixed piece of work a second: NumPy on an array that fits a cache, and plain Python, in one thread.

    Matrix products would measure how many threads the library behind NumPy takes.
    """
    values = np.linspace(-1, 1, 16384, dtype=np.float32)
    began = now = clock()
    rounds = 0
    while now - began < seconds:
        state = values
        for _ in range(8):
            state = np.tanh(state * 1.5 + values)
        sum(number * number for number in range(1000))
        rounds += 1
        now = clock()
    return rounds / (now - began)


def steps_per_second(
    environment: Environment, task: Task, clock: Clock = time.perf_counter, seconds: float = SECONDS
) -> float:
    """Environment steps a second with uniform actions in one task, resets included, one process."""
    batch = environment.make_batch([task])
    generator = np.random.default_rng(0)
    active = np.ones(1, dtype=np.bool_)
    steps = 0
    try:
        batch.reset(0, 0)
        began = now = clock()
        for episode in itertools.count(1):
            for _ in range(environment.spec.horizon):
                action = generator.uniform(-1, 1, (1, environment.spec.action_size)).astype(np.float32)
                step = batch.step(action, active)
                steps += 1
                now = clock()
                if step.terminated[0] or step.truncated[0] or now - began >= seconds:
                    break
            if now - began >= seconds:
                return steps / (now - began)
            batch.reset(0, episode)
        raise AssertionError("the loop has no end of its own")
    finally:
        batch.close()
