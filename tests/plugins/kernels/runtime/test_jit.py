"""Compiled kernels and their cache on disk."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from icrl_plugins.kernels.runtime import jit
from icrl_plugins.kernels.runtime.tasks import tasks
from icrl_plugins.kernels.runtime.threads import run_tasks


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
    run_tasks(jit.compiled(double), 5, 5, values)
    np.testing.assert_array_equal(values, 2 * np.arange(5.0))


def test_compiled_kernels_are_kept_for_other_processes(tmp_path):
    """Compiled kernels lie in a directory of this package's, the same in another process."""
    code = (
        "import torch; from icrl_plugins.kernels.rms_norm.fused import rms_norm_cpu;"
        "from icrl_plugins.kernels.runtime import jit;"
        "rms_norm_cpu(torch.ones(2, 16), torch.ones(16), 1e-5); print(jit._cache_directory())"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=300, env=environment, capture_output=True, text=True
    )
    directory = Path(ran.stdout.strip())
    assert directory.parent.parent == tmp_path
    assert directory.name == Path(jit._cache_directory()).name
    assert list(directory.rglob("kernel.forward*.nbc"))


@pytest.mark.slow
@pytest.mark.parametrize(("source", "start"), [("ppo", "rollout_length=100"), ("droq", "learning_starts=600")])
def test_the_process_that_compiles_computes_the_same_bits_as_those_that_load(source, start, tmp_path):
    """Policies of two tasks after a few updates: the first process finds an empty cache, the second a full one."""
    code = f"""
import hashlib
import numpy as np
from icrl_registry.contracts import Task
from icrl_registry.discovery import load
component, environment = load("source", "{source}").component, load("environment", "reacher-goal").component
environment = environment(environment.Config())
chosen = component.Config(total_steps=1200, num_envs=5, {start})
parameters = environment.sample_training_parameters(2, np.random.default_rng(0))
tasks = [Task(tuple(map(float, row)), "train", index) for index, row in enumerate(parameters)]
seeds = [np.random.SeedSequence(index) for index in range(2)]
learned = hashlib.sha256()
for run in component(chosen).collect(environment, tasks, seeds, lambda steps: None):
    for name in sorted(run.policy):
        learned.update(run.policy[name].tobytes())
print(learned.hexdigest())
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    found = [
        subprocess.run(command, check=True, timeout=600, env=environment, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert list(tmp_path.rglob("kernel.backward*.nbc"))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "changed", ["kernels/runtime/tasks.py", "kernels/selective_scan/kernel.py", "kernels/dense/kernel.py"]
)
def test_a_change_to_a_kernel_renames_the_cache(changed, tmp_path, monkeypatch):
    package = Path(jit.__file__).parent.parent
    shutil.copytree(package, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    original = jit._cache_directory()
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "copy" / "kernels" / "runtime" / "jit.py"))
    named = jit._cache_directory.__wrapped__  # it is asked once for every process
    assert named() == original
    with (tmp_path / "copy" / changed).open("a", encoding="utf-8") as file:
        file.write("#")
    assert named() != original
