"""The threads that share a kernel's tasks.

Kernels take the counters of `tasks.py` as their first argument and do the tasks that nobody else has taken. They release
the interpreter's lock, so plain Python threads run them side by side. That needs no threading layer of numba's own, which
would compete with PyTorch's OpenMP threads and abort in forked processes, and all thread counts run the same machine
code, so they give the same bits.

The threads wait at a queue of this module's instead of `concurrent.futures`: its futures and their locks took longer than
a kernel takes over ten tokens, and that with every kernel of a pass.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import torch

from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.tasks import look_for_the_end, new_counters

#: Below this many state updates a second thread costs more than it saves.
SERIAL_WORK = 200_000

soon_done = compiled(look_for_the_end)


class _Threads:
    """Threads that do calls from a queue: as many as a caller ever asked for, and none at first in a forked process."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[..., None], tuple[Any, ...], SimpleQueue[Any]]] = SimpleQueue()
        self._size = 0

    def call(self, times: int, function: Callable[..., None], arguments: tuple[Any, ...]) -> SimpleQueue[Any]:
        """Has the function called `times` times at once; the queue gets None, or what was raised, from each."""
        while self._size < times:
            calls = self._calls
            threading.Thread(target=_work, args=(calls,), name=f"kernels-{self._size}", daemon=True).start()
            self._size += 1
        ends: SimpleQueue[Any] = SimpleQueue()
        for _ in range(times):
            self._calls.put((function, arguments, ends))
        return ends


def _work(calls: SimpleQueue[Any]) -> None:
    while True:
        function, arguments, ends = calls.get()
        try:
            function(*arguments)
        except BaseException as error:  # whatever it is, the caller raises it
            ends.put(error)
        else:
            ends.put(None)
        del function, arguments, ends  # while it waits, a thread holds no arrays


_THREADS = _Threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_THREADS.forget)


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
    ends = _THREADS.call(threads - 1, kernel, (counters, *arguments))
    kernel(counters, *arguments)
    if not soon_done(counters, num_tasks):
        for _ in range(threads - 1):
            error = ends.get()
            try:
                if error is not None:
                    raise error
            finally:
                del error  # its traceback holds this frame, and with it the arrays
