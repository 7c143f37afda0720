"""Compiling numba kernels, kept on disk where that is possible (cache.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, njit

from icrl_plugins.kernels.runtime.cache import KernelCache, cache_directory
from icrl_plugins.kernels.runtime.vectors import JIT, lane_count, load, splat, store
from icrl_registry.errors import UsageError


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`numba.njit` with a cache on disk; where none can be read or written, compiled anew in each process.

    With `NUMBA_DISABLE_JIT` set the kernels cannot run, for vectors exist in compiled code alone: calls raise `UsageError`.
    """
    if config.DISABLE_JIT:
        return _refuse
    dispatcher = njit(**JIT)(function)
    dispatcher._cache = KernelCache(dispatcher.py_func)
    return dispatcher


def _refuse(*arguments: Any) -> None:
    raise UsageError(
        "the CPU kernels need numba's compiler, which NUMBA_DISABLE_JIT turns off",
        "unset NUMBA_DISABLE_JIT; to step through Mamba's formula in a debugger use --set backbone.kernel=reference",
    )


@compiled
def _double(values):
    for offset in range(0, values.size, lane_count(values)):
        store(values, offset, load(values, offset) * splat(values.dtype.type(2.0)))


def probe() -> str:
    """Compiles or loads a small kernel, runs it and says where kernels are kept.

    Raises:
        UsageError: the compiler is turned off.
        RuntimeError: the kernel computed something else.
    """
    values = np.arange(32, dtype=np.float32)
    _double(values)
    if not np.array_equal(values, 2 * np.arange(32)):
        raise RuntimeError("a compiled kernel computes wrong numbers: is another version of llvmlite installed?")
    return f"kernels compile and run; kept in {cache_directory()}"
