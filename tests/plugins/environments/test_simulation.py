"""MuJoCo's timers: switched off once, without a trace in the numbers, and to be had again."""

import mujoco
import numpy as np
import pytest

from icrl_plugins.environments import simulation
from icrl_plugins.environments.simulation import MujocoBatch

STEP_TIMER = mujoco.mjtTimer.mjTIMER_STEP


@pytest.fixture
def timers_as_before():
    yield
    simulation._stop_timers.cache_clear()
    simulation._stop_timers()


def _stepped(batch: MujocoBatch, steps: int) -> tuple[np.ndarray, float]:
    """Observations (steps, O) of its only task under drawn actions, and the seconds that MuJoCo says they took."""
    rng = np.random.default_rng(3)
    batch.reset(0, seed=5)
    seen = []
    for _ in range(steps):
        actions = rng.uniform(-1, 1, (1, batch.family.action_size)).astype(np.float32)
        seen.append(batch.step(actions, np.ones(1, dtype=np.bool_)).observations[0])
    return np.array(seen), batch._data[0].timer[STEP_TIMER].duration


def test_a_batch_stops_the_timers_and_its_numbers_stay(family, draw_tasks, timers_as_before):
    task = [row.parameters for row in draw_tasks(family, 1)]
    without, none = _stepped(MujocoBatch(family, task), 20)
    mujoco.set_mjcb_time(None)  # the package's own clock again
    batch = MujocoBatch(family, task)  # leaves it to whoever asked for it
    with_timers, seconds = _stepped(batch, 20)
    assert none == 0
    assert seconds > 0
    np.testing.assert_array_equal(without, with_timers)


def test_a_clock_that_was_set_before_stays(family, draw_tasks, timers_as_before):
    calls = []
    mujoco.set_mjcb_time(lambda: float(calls.append(1) or len(calls)))
    try:
        simulation._stop_timers.cache_clear()
        _stepped(MujocoBatch(family, [draw_tasks(family, 1)[0].parameters]), 1)
    finally:
        mujoco.set_mjcb_time(None)
    assert calls
