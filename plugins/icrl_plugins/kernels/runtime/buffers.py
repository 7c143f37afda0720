"""Memory for the scan's results that is used again once nobody looks at it any more.

A fresh large array is memory that the system has to find, empty and map, page by page, at its first touch, and the C
library gives large blocks back as soon as they are freed. A training step asks for the same sizes again and again, so
blocks are kept, up to `KEPT_BYTES` in all, and the pool sees by their reference counts which ones nobody looks at: an array
or a tensor that lies in a block holds a reference to it, the pool holds one more. (Told by a finaliser of each array
instead, taking and giving back cost 6 µs a buffer; with cold caches that was a tenth of a pass over 1,000 tokens.)
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

#: Of all blocks, used or not; what is asked for beyond comes and goes. A pass over 50,000 tokens of four sequences, 128
#: channels each, needs 0.4 GiB.
KEPT_BYTES = 2**30
#: The C library keeps smaller blocks itself.
POOLED_BYTES = 64 * 2**10
#: From here on huge pages are asked for, as NumPy does.
HUGE_FROM_BYTES = 4 * 2**20


def _references(blocks: list[Any], place: int) -> int:
    return sys.getrefcount(blocks[place])


#: References to a block that only the pool's list holds.
_UNUSED = _references([object()], 0)


class BufferPool:
    """Blocks by their size, the one taken last at the end; thread-safe, since autograd runs on threads of its own."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.forget()

    def forget(self) -> None:
        """Lets go of all blocks; in a forked process, whose copy of the lock a thread may hold that isn't there."""
        self._lock = threading.Lock()
        self._blocks: dict[int, list[Any]] = {}  # the size asked for last at the end
        self._kept = 0

    @property
    def kept_bytes(self) -> int:
        """Bytes of all blocks that the pool holds, used or not."""
        return self._kept

    @property
    def unused_bytes(self) -> int:
        """Bytes of those that nobody looks at."""
        with self._lock:
            return self._unused_bytes()

    def take(self, dtype: Any, shape: tuple[int, ...], size: int) -> Any:
        """An uninitialised array of `size` bytes; its block is taken again once neither it nor a view of it is left."""
        with self._lock:  # until the array holds the block, another thread could take it too
            blocks = self._blocks.pop(size, [])
            self._blocks[size] = blocks
            for place in range(len(blocks) - 1, -1, -1):
                if _references(blocks, place) == _UNUSED:
                    blocks.append(blocks.pop(place))
                    return np.ndarray(shape, dtype, blocks[-1])
            block = self._new_block(size)
            if self._make_room(size):
                self._blocks.setdefault(size, blocks).append(block)
                self._kept += size
            elif not blocks:
                del self._blocks[size]
            return np.ndarray(shape, dtype, block)

    @staticmethod
    def _unused(blocks: list[Any]) -> list[int]:
        return [place for place in range(len(blocks)) if _references(blocks, place) == _UNUSED]

    def _unused_bytes(self) -> int:
        return sum(size * len(self._unused(blocks)) for size, blocks in self._blocks.items())

    def _new_block(self, size: int) -> Any:
        try:
            return _block(size)
        except MemoryError:
            self._drop_unused(0)
            return _block(size)

    def _make_room(self, size: int) -> bool:
        """Whether `size` bytes more are within the limit, if need be without unused blocks."""
        if self._kept - self._unused_bytes() + size > self._limit:
            return False
        self._drop_unused(self._limit - size)
        return True

    def _drop_unused(self, down_to: int) -> None:
        """Drops unused blocks until no more than that is kept, of the sizes longest not asked for first."""
        for size, blocks in list(self._blocks.items()):
            for dropped, place in enumerate(self._unused(blocks)):
                if self._kept <= down_to:
                    return
                del blocks[place - dropped]
                self._kept -= size
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


_POOL = BufferPool(KEPT_BYTES)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.forget)


def empty(dtype: Any, *shape: int) -> Any:
    """An uninitialised NumPy array; `torch.from_numpy` of it keeps the block as long as the tensor lives."""
    size = math.prod(shape) * dtype.itemsize
    if size < POOLED_BYTES:
        return np.empty(shape, dtype)
    return _POOL.take(dtype, shape, size)
