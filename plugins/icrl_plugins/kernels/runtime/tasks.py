"""How the threads of a kernel share its tasks: each takes the next one that nobody has taken.

A kernel gets `counters` first and loops over `tasks(counters, total)`. Who computes a task never changes its numbers, so
results do not depend on the number of threads. A thread that starts late, or runs on a core that others use, does less.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from icrl_plugins.kernels.runtime.vectors import JIT

_TAKEN, _DONE = 0, 1
#: Looks at the counter before a thread that has nothing left goes to sleep: about a tenth of a millisecond.
_LOOKS = 20_000


def new_counters() -> Any:
    """Tasks taken and done so far."""
    return np.zeros(2, dtype=np.int64)


@intrinsic
def _fetch_add(typing_context: Any, counters: Any, index: Any, amount: Any) -> Any:
    """Adds to a counter that other threads change too; gives what it was before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(array.data, [arguments[1]])
        added = builder.sext(arguments[2], ir.IntType(64)) if arguments[2].type.width < 64 else arguments[2]
        return builder.atomic_rmw("add", address, added, "seq_cst")

    return types.int64(counters, types.intp, types.int64), generate


@njit(**JIT)
def tasks(counters, total) -> Iterator[int]:
    """The numbers of the tasks that this thread is to do."""
    task = _fetch_add(counters, _TAKEN, 1)
    while task < total:
        yield task
        _fetch_add(counters, _DONE, 1)
        task = _fetch_add(counters, _TAKEN, 1)


@njit(**JIT)
def wait_for(counters, parts) -> None:
    """Returns when the first `parts` tasks are done; only for a task after them, which no other waits for."""
    while _fetch_add(counters, _DONE, 0) < parts:
        pass


def look_for_the_end(counters, total) -> bool:
    """Whether all tasks are done by now or very soon: waking a sleeping thread takes longer than many a task."""
    for _ in range(_LOOKS):  # noqa: SIM110 (numba knows no any() of a generator)
        if _fetch_add(counters, _DONE, 0) >= total:
            return True
    return False
