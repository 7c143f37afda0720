"""The threads that share a kernel's tasks: every task once, errors raised, nobody left waiting, none after a fork."""

import gc
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
import torch

from icrl_plugins.kernels.runtime import threads
from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.tasks import tasks


def test_a_forked_process_makes_its_own_threads():
    """Forks a fresh interpreter that has used the kernels' threads; the child must compute the same."""
    code = """
import os, torch
from icrl_plugins.kernels.runtime.threads import SERIAL_WORK, run_tasks
from icrl_plugins.kernels.runtime.tasks import tasks
torch.set_num_threads(2)
def kernel(counters, values):
    for i in tasks(counters, len(values)):
        values[i] += 1
before = [0] * 4
run_tasks(kernel, 4, SERIAL_WORK, before)
child = os.fork()
if child == 0:
    values = [0] * 4
    run_tasks(kernel, 4, SERIAL_WORK, values)
    os._exit(0 if values == [1] * 4 else 1)
assert before == [1] * 4 and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_every_task_is_done_once_however_many_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)

    def count(counters, done):
        for i in tasks(counters, done.size):
            done[i] += 1

    kernel = compiled(count)
    for size in (1, 3, 4, 1000):
        done = np.zeros(size, dtype=np.int64)
        threads.run_tasks(kernel, size, threads.SERIAL_WORK, done)
        assert (done == 1).all()


def test_an_error_in_a_thread_is_raised_and_nobody_waits_forever(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    caller = threading.get_ident()

    def fails_elsewhere(counters, values):
        if threading.get_ident() == caller:
            time.sleep(0.2)  # the other thread comes first
        for _ in tasks(counters, len(values)):
            if threading.get_ident() != caller:
                raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        threads.run_tasks(fails_elsewhere, 2, threads.SERIAL_WORK, [0, 0])


def test_waiting_threads_hold_no_arrays(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)

    def touch(counters, values):
        for i in tasks(counters, len(values)):
            values[i] = 1

    values = np.zeros(16)
    gone = weakref.ref(values)
    threads.run_tasks(touch, 16, threads.SERIAL_WORK, values)
    del values
    for _ in range(100):
        gc.collect()
        if gone() is None:
            return
        time.sleep(0.05)
    pytest.fail("a thread still holds its last call's array")


def test_an_error_keeps_no_array_once_it_is_dealt_with(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    caller = threading.get_ident()

    def fails_elsewhere(counters, values):
        if threading.get_ident() == caller:
            time.sleep(0.2)
        for _ in tasks(counters, len(values)):
            if threading.get_ident() != caller:
                raise ValueError("broken")

    values = np.zeros(2)
    gone = weakref.ref(values)
    gc.disable()
    try:
        with pytest.raises(ValueError, match="broken") as raised:
            threads.run_tasks(fails_elsewhere, 2, threads.SERIAL_WORK, values)
        del values, raised
        for _ in range(100):
            if gone() is None:
                return
            time.sleep(0.02)
    finally:
        gc.enable()
    pytest.fail("the array waits for a garbage collection")
