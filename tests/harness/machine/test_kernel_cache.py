"""A process that is killed while it keeps a kernel leaves a file that nobody reads, and that a later run removes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from icrl_bench.machine.kernel_cache import OLD, remove_unfinished_kernels

PROBE = "from icrl_plugins.kernels.runtime.jit import probe; print(probe())"
KILLED = f"import os; os.replace = lambda *names: os.kill(os.getpid(), {int(signal.SIGKILL)}); {PROBE}"


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_a_killed_process_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert subprocess.run([sys.executable, "-c", KILLED], check=False).returncode == -signal.SIGKILL
    (left,) = files(tmp_path)
    ran = subprocess.run([sys.executable, "-W", "error", "-c", PROBE], check=True, capture_output=True, text=True)
    assert "compile and run" in ran.stdout
    kernel, unfinished = files(tmp_path)
    assert unfinished == left
    remove_unfinished_kernels()  # somebody may be writing it
    assert files(tmp_path) == [kernel, left]
    for path in (kernel, left):
        os.utime(path, (time.time() - 2 * OLD,) * 2)
    remove_unfinished_kernels()
    assert files(tmp_path) == [kernel]


def test_a_cache_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "none"))
    remove_unfinished_kernels()
    (tmp_path / "kernels").write_text("a file")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    remove_unfinished_kernels()
