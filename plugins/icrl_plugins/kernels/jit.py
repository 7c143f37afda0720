"""Compiling numba kernels with a cache on disk where one can be written, and sharing their tasks among threads.

Numba looks at the age of a kernel's own file to tell whether a cached binary is current, not at the files that it imports.
So the cache lies in a directory named after the contents of all files that kernels import from, below the user's cache
directory or `NUMBA_CACHE_DIR`: those of this folder, and every file with `kernel` in its name.

Kernels take the counters of `tasks.py` as their first argument and do the tasks that nobody else has taken. They release
the interpreter's lock, so plain Python threads run them side by side. That needs no threading layer of numba's own, which
would compete with PyTorch's OpenMP threads and abort in forked processes, and all thread counts run the same machine
code, so they give the same bits.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch
from numba import config, njit
from platformdirs import user_cache_dir

from icrl_plugins.kernels.tasks import look_for_the_end, new_counters
from icrl_plugins.kernels.vectors import JIT

#: Below this many state updates a second thread costs more than it saves.
SERIAL_WORK = 200_000


@cache
def _cache_directory() -> str:
    """Where compiled kernels of exactly these sources are kept."""
    contents = hashlib.sha256()
    here = Path(__file__).parent
    for source in sorted({*here.glob("*.py"), *here.parent.rglob("*kernel*.py")}):
        contents.update(source.read_bytes())
    base = config.CACHE_DIR or user_cache_dir("icrl-bench")
    return str(Path(base) / "kernels" / contents.hexdigest()[:16])


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`numba.njit`, cached on disk; where no cache directory can be written, compiled anew in each process."""
    given = config.CACHE_DIR
    config.CACHE_DIR = _cache_directory()  # read once, when a function is decorated
    try:
        return njit(cache=True, **JIT)(function)  # type: ignore[no-any-return]
    except RuntimeError:
        return njit(**JIT)(function)  # type: ignore[no-any-return]
    finally:
        config.CACHE_DIR = given


soon_done = compiled(look_for_the_end)


class _Workers:
    """A thread pool that grows to what is asked for and is made anew in a forked process."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0

    def pool(self, size: int) -> ThreadPoolExecutor:
        if self._pool is None or self._size < size:
            self._pool = ThreadPoolExecutor(size, thread_name_prefix="selective-scan")
            self._size = size
        return self._pool


_WORKERS = _Workers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_WORKERS.forget)


def run_tasks(kernel: Callable[..., None], num_tasks: int, work: int, *arguments: Any) -> None:
    """Runs `kernel(counters, *arguments)` on `torch.get_num_threads()` threads until all `num_tasks` tasks are done.

    `work` is the number of state updates in all; little work stays on the calling thread. A thread that wakes up when
    everything is taken is not waited for.
    """
    threads = min(torch.get_num_threads(), num_tasks) if work >= SERIAL_WORK else 1
    counters = new_counters()
    if threads == 1:
        kernel(counters, *arguments)
        return
    pool = _WORKERS.pool(threads - 1)
    others = [pool.submit(kernel, counters, *arguments) for _ in range(1, threads)]
    kernel(counters, *arguments)
    if not soon_done(counters, num_tasks):
        for other in others:
            other.result()


def rows(tensor: torch.Tensor) -> tuple[Any, int]:
    """(B, T, E) as an array of full rows and the column where they start: half of a wider tensor isn't copied."""
    steps, wide = tensor.shape[1], tensor.stride(1)
    column = tensor.storage_offset()
    if tensor.stride() == (steps * wide, wide, 1) and column + tensor.shape[2] <= wide:
        return tensor.detach().as_strided((tensor.shape[0], steps, wide), tensor.stride(), 0).numpy(), column
    return tensor.detach().contiguous().numpy(), 0
