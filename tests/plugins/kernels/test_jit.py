"""Compiled kernels: their cache on disk, and their threads."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from icrl_plugins.kernels import jit


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch):
    real = jit.njit

    def refuses_a_cache(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    monkeypatch.setattr(jit, "njit", refuses_a_cache)

    def double(start, stride, values):
        for i in range(start, values.size, stride):
            values[i] *= 2

    values = np.arange(5.0)
    jit.run_tasks(jit.compiled(double), 5, 5, values)
    np.testing.assert_array_equal(values, 2 * np.arange(5.0))


def test_a_forked_process_makes_its_own_threads():
    """Forks a fresh interpreter that has used the kernels' threads; the child must compute the same."""
    code = """
import os, torch
from icrl_plugins.kernels.jit import SERIAL_WORK, run_tasks
torch.set_num_threads(2)
def kernel(start, stride, values):
    for i in range(start, len(values), stride):
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


def test_cache_is_bound_to_the_contents_of_the_kernels(tmp_path):
    """Compiled kernels lie in a directory that a change to any file of the package renames."""
    code = (
        "from icrl_plugins.backbones.mamba import partial_sums; from icrl_plugins.kernels import jit; import torch;"
        "partial_sums.sum_partials(torch.ones(2, 3)); print(jit._cache_directory())"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=300, env=environment, capture_output=True, text=True
    )
    directory = Path(ran.stdout.strip())
    assert directory.parent.parent == tmp_path
    assert directory.name == Path(jit._cache_directory()).name
    assert list(directory.rglob("*_add_rows*.nbc"))
