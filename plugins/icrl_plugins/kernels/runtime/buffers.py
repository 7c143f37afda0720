"""A pool of memory for the results of kernels: a block is used again once no array or tensor lies in it any more.

A fresh large array is memory that the system has to find, empty and map, page by page, at its first touch, and the C
library gives large blocks back as soon as they are freed: 2,218 page faults in a training pass of the scan over four
sequences of 1,000 tokens, 700 to 1,100 in an update of SAC, a third of its time. A training step asks for the same sizes
again and again, so the pool keeps blocks, up to `LIMIT_BYTES` in all, and their reference counts tell which ones are free:
an array or a tensor that lies in a block holds a reference to it, the pool holds one more. (Told by a finaliser of each
array instead, taking and giving back cost 6 µs a buffer; with cold caches that was a tenth of a pass over 1,000 tokens.)
"""

from __future__ import annotations

import math
import mmap
import os
import sys
import threading
from contextlib import suppress
from typing import Any

import numpy as np

#: Of all blocks, free or not; what is asked for beyond comes and goes. A pass over 50,000 tokens of four sequences, 128
#: channels each, needs 0.4 GiB.
LIMIT_BYTES = 2**30
#: The C library keeps smaller blocks itself.
POOLED_BYTES = 64 * 2**10
#: From here on huge pages are asked for, as NumPy does.
HUGE_FROM_BYTES = 4 * 2**20


def _references(blocks: list[Any], index: int) -> int:
    return sys.getrefcount(blocks[index])


#: References to a block that only the pool's list holds.
_REFERENCES_OF_A_FREE_BLOCK = _references([object()], 0)


class BufferPool:
    """Blocks by their size, the one taken last at the end; thread-safe, since autograd runs on threads of its own."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.forget()

    def forget(self) -> None:
        """Lets go of all blocks; in a forked process, whose copy of the lock a thread may hold that isn't there."""
        self._lock = threading.Lock()
        self._blocks: dict[int, list[Any]] = {}  # the size asked for last at the end
        self._pooled = 0

    @property
    def pooled_bytes(self) -> int:
        """Bytes of all blocks that the pool holds, free or not."""
        return self._pooled

    @property
    def free_bytes(self) -> int:
        """Bytes of those in which no array lies."""
        with self._lock:
            return self._free_bytes()

    def take(self, dtype: Any, shape: tuple[int, ...], size: int) -> Any:
        """An uninitialised array of `size` bytes; its block is taken again once neither it nor a view of it is left."""
        with self._lock:  # until the array holds the block, another thread could take it too
            blocks = self._blocks.pop(size, [])
            self._blocks[size] = blocks
            for index in range(len(blocks) - 1, -1, -1):
                if _references(blocks, index) == _REFERENCES_OF_A_FREE_BLOCK:
                    blocks.append(blocks.pop(index))
                    return np.ndarray(shape, dtype, blocks[-1])
            block = self._new_block(size)
            if self._make_room(size):
                self._blocks.setdefault(size, blocks).append(block)
                self._pooled += size
            elif not blocks:
                del self._blocks[size]
            return np.ndarray(shape, dtype, block)

    @staticmethod
    def _free(blocks: list[Any]) -> list[int]:
        return [index for index in range(len(blocks)) if _references(blocks, index) == _REFERENCES_OF_A_FREE_BLOCK]

    def _free_bytes(self) -> int:
        return sum(size * len(self._free(blocks)) for size, blocks in self._blocks.items())

    def _new_block(self, size: int) -> Any:
        try:
            return _block(size)
        except MemoryError:
            self._drop_free(0)
            return _block(size)

    def _make_room(self, size: int) -> bool:
        """Whether `size` bytes more are within the limit, if need be without free blocks."""
        if self._pooled - self._free_bytes() + size > self._limit:
            return False
        self._drop_free(self._limit - size)
        return True

    def _drop_free(self, down_to: int) -> None:
        """Drops free blocks until no more than that is pooled, of the sizes longest not asked for first."""
        for size, blocks in list(self._blocks.items()):
            for dropped, index in enumerate(self._free(blocks)):
                if self._pooled <= down_to:
                    return
                del blocks[index - dropped]
                self._pooled -= size
            if not blocks:
                del self._blocks[size]


def _block(size: int) -> Any:
    """Fresh memory of this process alone that begins at a page, in huge pages where the system has them and they pay."""
    alone = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    try:
        block = mmap.mmap(-1, size, **alone)
    except OSError as error:
        raise MemoryError(f"no memory for an array of {size:,} bytes") from error
    if size >= HUGE_FROM_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            block.madvise(mmap.MADV_HUGEPAGE)
    return block


_POOL = BufferPool(LIMIT_BYTES)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.forget)


def empty(dtype: Any, *shape: int) -> Any:
    """An uninitialised NumPy array; `torch.from_numpy` of it keeps the block as long as the tensor lives."""
    size = math.prod(shape) * dtype.itemsize
    if size < POOLED_BYTES:
        return np.empty(shape, dtype)
    return _POOL.take(dtype, shape, size)
