"""A simulation that diverges says so once, in a Python warning, and leaves nothing behind."""

from __future__ import annotations

import warnings
from pathlib import Path

import mujoco
import numpy as np


def _diverge(family, tasks, episodes):
    batch = family.make_batch(tasks)
    active = np.ones(batch.num_tasks, dtype=np.bool_)
    zeros = np.zeros((batch.num_tasks, family.action_size), dtype=np.float32)
    for seed in range(episodes):
        for row in range(batch.num_tasks):
            batch.reset(row, seed)
            batch._data[row].qvel[:] = 1e15
        for _ in range(3):
            batch.step(zeros, active)


def test_one_warning_and_no_log(family, draw_tasks, capfd):
    tasks = draw_tasks(family, 3)
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        _diverge(family, tasks, episodes=2)
    unstable = [str(warning.message) for warning in caught if "unstable" in str(warning.message)]
    assert len(unstable) == 1
    assert family.id in unstable[0]
    assert not list(Path.cwd().iterdir())  # no MUJOCO_LOG.TXT
    assert capfd.readouterr() == ("", "")


def test_somebody_elses_handler_stays(family, draw_tasks):
    heard = []
    mujoco.set_mju_user_warning(heard.append)
    try:
        with warnings.catch_warnings(record=True), np.errstate(all="ignore"):
            _diverge(family, draw_tasks(family, 1), episodes=1)
    finally:
        mujoco.set_mju_user_warning(None)
    assert any("unstable" in message for message in heard)
