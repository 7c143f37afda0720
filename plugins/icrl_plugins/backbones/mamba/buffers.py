"""Memory for the scan's results that is used again once nobody looks at it any more.

A fresh large array is memory that the system has to find, empty and map, page by page, at its first touch, and the C
library gives large blocks back as soon as they are freed. A training step asks for the same sizes again and again, so
freed buffers are kept, up to `KEPT_BYTES` in all; the longest unused one goes first.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from typing import Any

import numpy as np

#: A pass over 50,000 tokens of four sequences, 128 channels each, needs 0.4 GiB of results.
KEPT_BYTES = 512 * 2**20
#: The C library keeps smaller blocks itself.
POOLED_BYTES = 64 * 2**10
#: Where a buffer begins: at a cache line, so that no vector lies across two.
LINE_BYTES = 64


class BufferPool:
    """Freed buffers by their size; thread-safe, since autograd may free a tensor on any thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.forget()

    def forget(self) -> None:
        """Lets go of all buffers; in a forked process, whose copy of the lock a thread may hold that isn't there."""
        self._lock = threading.Lock()
        self._free: deque[Any] = deque()  # bytes arrays, the longest unused first
        self._kept = 0

    @property
    def kept_bytes(self) -> int:
        """Bytes of the buffers that nobody uses now."""
        return self._kept

    def take(self, size: int) -> Any:
        """An uninitialised array of `size` bytes."""
        with self._lock:
            for place in range(len(self._free) - 1, -1, -1):
                if self._free[place].nbytes == size:
                    buffer = self._free[place]
                    del self._free[place]
                    self._kept -= size
                    return buffer
        block = np.empty(size + LINE_BYTES, np.uint8)  # asks for huge pages from 4 MiB on
        first = -block.ctypes.data % LINE_BYTES
        return block[first : first + size]

    def give_back(self, buffer: Any) -> None:
        """Keeps a buffer for the next `take` of its size.

        Called when an array dies, which a garbage collection may bring about anywhere, in the midst of `take` too: a pool
        that is busy lets the buffer go.
        """
        if buffer.nbytes > self._limit or not self._lock.acquire(blocking=False):
            return
        try:
            self._free.append(buffer)
            self._kept += buffer.nbytes
            while self._kept > self._limit:
                self._kept -= self._free.popleft().nbytes
        finally:
            self._lock.release()


class _Lease:
    """Owns a pool's buffer for as long as an array or a tensor looks at it."""

    def __init__(self, pool: BufferPool, size: int) -> None:
        self._pool, self._buffer = pool, pool.take(size)
        self.__array_interface__ = self._buffer.__array_interface__

    def __del__(self) -> None:
        self._pool.give_back(self._buffer)


_POOL = BufferPool(KEPT_BYTES)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.forget)


def empty(dtype: Any, *shape: int) -> Any:
    """An uninitialised NumPy array; `torch.from_numpy` of it keeps the buffer as long as the tensor lives."""
    size = math.prod(shape) * dtype.itemsize
    if size < POOLED_BYTES:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_POOL, size)).view(dtype).reshape(shape)
