"""Compiled kernels: their cache on disk, and their threads."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from icrl_plugins.kernels import jit
from icrl_plugins.kernels.tasks import new_counters, tasks


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch):
    real = jit.njit

    def refuses_a_cache(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    monkeypatch.setattr(jit, "njit", refuses_a_cache)

    def double(counters, values):
        for i in tasks(counters, values.size):
            values[i] *= 2

    values = np.arange(5.0)
    jit.run_tasks(jit.compiled(double), 5, 5, values)
    np.testing.assert_array_equal(values, 2 * np.arange(5.0))


def test_a_forked_process_makes_its_own_threads():
    """Forks a fresh interpreter that has used the kernels' threads; the child must compute the same."""
    code = """
import os, torch
from icrl_plugins.kernels.jit import SERIAL_WORK, run_tasks
from icrl_plugins.kernels.tasks import tasks
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


def test_compiled_kernels_are_kept_for_other_processes(tmp_path):
    """Compiled kernels lie in a directory of this package's, the same in another process."""
    code = (
        "from icrl_plugins.backbones.mamba.norm_cpu import rms_norm_cpu; from icrl_plugins.kernels import jit; import torch;"
        "rms_norm_cpu(torch.ones(2, 16), torch.ones(16), 1e-5); print(jit._cache_directory())"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=300, env=environment, capture_output=True, text=True
    )
    directory = Path(ran.stdout.strip())
    assert directory.parent.parent == tmp_path
    assert directory.name == Path(jit._cache_directory()).name
    assert list(directory.rglob("norm_kernels.forward*.nbc"))


@pytest.mark.parametrize(
    "changed", ["kernels/tasks.py", "backbones/mamba/scan_kernels.py", "networks/network_kernels.py"]
)
def test_a_change_to_a_kernel_renames_the_cache(changed, tmp_path, monkeypatch):
    package = Path(jit.__file__).parent.parent
    shutil.copytree(package, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    original = jit._cache_directory()
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "copy" / "kernels" / "jit.py"))
    named = jit._cache_directory.__wrapped__  # it is asked once for every process
    assert named() == original
    with (tmp_path / "copy" / changed).open("a", encoding="utf-8") as file:
        file.write("#")
    assert named() != original


def test_every_task_is_done_once_however_many_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)

    def count(counters, done):
        for i in tasks(counters, done.size):
            done[i] += 1

    kernel = jit.compiled(count)
    for size in (1, 3, 4, 1000):
        done = np.zeros(size, dtype=np.int64)
        jit.run_tasks(kernel, size, jit.SERIAL_WORK, done)
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
        jit.run_tasks(fails_elsewhere, 2, jit.SERIAL_WORK, [0, 0])


def test_tasks_that_others_took_are_left_out():
    counters = new_counters()
    first = tasks(counters, 3)
    assert next(first) == 0
    assert list(tasks(counters, 3)) == [1, 2]
    assert list(first) == []
    assert counters[1] == 3
