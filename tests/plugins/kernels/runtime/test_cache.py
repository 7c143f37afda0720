"""Compiled kernels and their cache on disk."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from icrl_plugins.kernels.runtime import cache, jit

PROBE = "from icrl_plugins.kernels.runtime.jit import probe; print(probe())"


def probed(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own that compiles or loads a kernel, with its cache below `directory`."""
    given = os.environ | {"NUMBA_CACHE_DIR": str(directory)} | environment
    command = [sys.executable, "-W", "always", "-c", PROBE]
    return subprocess.run(command, timeout=300, env=given, capture_output=True, text=True, check=False)


def files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def test_compiled_kernels_are_kept_for_other_processes(tmp_path):
    """In a directory of this package's; a second process writes nothing."""
    ran = probed(tmp_path)
    assert ran.returncode == 0, ran.stderr
    (kept,) = files(tmp_path)
    assert kept.parent.parent == tmp_path / "kernels"
    assert kept.name.startswith("runtime.jit._double")
    before = kept.stat()
    again = probed(tmp_path)
    assert (again.stdout, again.stderr) == (ran.stdout, "")
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped"])
def test_a_damaged_file_is_compiled_anew_with_one_warning(damage, tmp_path):
    probed(tmp_path)
    (kept,) = files(tmp_path)
    whole = kept.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    kept.write_bytes({"empty": b"", "cut": whole[:middle], "flipped": flipped}[damage])
    ran = probed(tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("RuntimeWarning") == 1
    assert f"{kept} is damaged" in ran.stderr
    assert kept.stat().st_size > middle
    assert probed(tmp_path).stderr == ""


def test_without_a_folder_that_can_be_written_nothing_is_kept(tmp_path):
    """Neither there nor beside the sources, where no change of an imported module would be noticed."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    sources = Path(jit.__file__).parent.parent
    before = {path for path in sources.rglob("*") if path.suffix in (".nbi", ".nbc")}
    ran = probed(blocked)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("RuntimeWarning") == 1
    assert "NUMBA_CACHE_DIR names another directory" in ran.stderr
    assert {path for path in sources.rglob("*") if path.suffix in (".nbi", ".nbc")} == before


def test_a_full_disk_costs_a_warning(tmp_path, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    def double(values):
        for i in range(values.size):
            values[i] *= 2

    monkeypatch.setattr(cache, "cache_directory", lambda: tmp_path / "kernels")
    monkeypatch.setattr(cache.os, "replace", full)
    monkeypatch.setattr(cache, "_warned", False)
    values = np.arange(5.0)
    with pytest.warns(RuntimeWarning, match="No space left"):
        jit.compiled(double)(values)
    np.testing.assert_array_equal(values, 2 * np.arange(5.0))
    assert files(tmp_path) == []


def test_a_compiler_that_is_turned_off_is_named(tmp_path):
    ran = probed(tmp_path, NUMBA_DISABLE_JIT="1")
    assert ran.returncode != 0
    assert "UsageError: the CPU kernels need numba's compiler, which NUMBA_DISABLE_JIT turns off" in ran.stderr


@pytest.mark.slow
def test_the_process_that_compiles_computes_the_same_bits_as_those_that_load(tmp_path):
    """Policies of two tasks after a few updates: the first process finds an empty cache, the second a full one."""
    code = """
import hashlib
import numpy as np
from icrl_registry.contracts import Task
from icrl_registry.discovery import load
environment = load("environment", "reacher-goal").component
environment = environment(environment.Config())
parameters = environment.sample_training_parameters(2, np.random.default_rng(0))
tasks = [Task(tuple(map(float, row)), "train", index) for index, row in enumerate(parameters)]
seeds = [np.random.SeedSequence(index) for index in range(2)]
for source, start in (("ppo", {"rollout_length": 100}), ("droq", {"learning_starts": 600})):
    component = load("source", source).component
    learned = hashlib.sha256()
    for run in component(component.Config(total_steps=1200, num_envs=5, **start)).collect(
        environment, tasks, seeds, lambda steps: None
    ):
        for name in sorted(run.policy):
            learned.update(run.policy[name].tobytes())
    print(source, learned.hexdigest())
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    compiled, loaded = (
        subprocess.run(command, check=True, timeout=600, env=environment, capture_output=True, text=True).stdout
        for _ in range(2)
    )
    assert list(tmp_path.rglob("dense.kernel.backward*.nbc"))
    assert compiled.count("\n") == 2
    assert compiled == loaded


@pytest.mark.parametrize("changed", ["runtime/tasks.py", "selective_scan/kernel.py", "dense/product.py"])
def test_a_change_to_a_kernel_renames_the_cache(changed, tmp_path, monkeypatch):
    folder = Path(cache.__file__).parent.parent
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    original = cache.cache_directory()
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "copy" / "runtime" / "cache.py"))
    named = cache.cache_directory.__wrapped__  # it is asked once for every process
    assert named() == original
    with (tmp_path / "copy" / changed).open("a", encoding="utf-8") as file:
        file.write("#")
    assert named() != original
