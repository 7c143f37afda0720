"""Buffers come back when nobody looks at them any more, at cache lines, and no more of them are kept than allowed."""

import gc
import threading

import numpy as np
import pytest
import torch

from icrl_plugins.backbones.mamba import buffers
from icrl_plugins.backbones.mamba.scan_cpu import scan_cpu

KIND = np.dtype(np.float32)
SHAPE = (4, 64, 512)
BYTES = 2**19
CACHE_LINE = 64


@pytest.fixture
def pool(monkeypatch):
    fresh = buffers.BufferPool(3 * BYTES)
    monkeypatch.setattr(buffers, "_POOL", fresh)
    return fresh


def test_a_tensors_memory_is_used_again_once_it_is_gone(pool):
    first = torch.from_numpy(buffers.empty(KIND, *SHAPE))
    place = first.data_ptr()
    view = first[1:]
    del first
    gc.collect()
    assert pool.unused_bytes == 0  # the view still looks at it
    other = buffers.empty(KIND, *SHAPE)
    assert other.ctypes.data != place
    del view
    again = buffers.empty(KIND, *SHAPE)
    assert again.ctypes.data == place
    assert again.shape == SHAPE
    assert again.dtype == KIND
    assert again.ctypes.data % CACHE_LINE == 0


@pytest.mark.parametrize(
    "look",
    [
        lambda array: array[2:, 1],
        lambda array: array.reshape(-1).view(np.float64),
        np.asarray,
        lambda array: torch.from_numpy(array).view(-1)[7:],
        lambda array: torch.from_numpy(array).numpy().T,
        lambda array: torch.from_numpy(array).requires_grad_().detach(),
        memoryview,
    ],
)
def test_no_view_of_any_kind_loses_its_memory(pool, look):
    view = look(buffers.empty(KIND, *SHAPE))
    gc.collect()
    assert pool.unused_bytes == 0
    del view
    assert pool.unused_bytes == pool.kept_bytes > 0


def test_two_threads_never_get_the_same_memory(pool):
    start, taken = threading.Barrier(4), []

    def take():
        start.wait()
        held = [buffers.empty(KIND, *SHAPE) for _ in range(50)]
        taken.append(held)

    for _ in range(5):
        taken.clear()
        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({array.ctypes.data for held in taken for array in held}) == 200


def test_no_more_is_kept_than_allowed_and_what_was_longest_not_asked_for_goes_first(pool):
    held = [buffers.empty(KIND, *SHAPE) for _ in range(4)]
    assert pool.kept_bytes == 3 * BYTES  # the fourth is nobody's once it is dropped
    places = {array.ctypes.data for array in held[:3]}
    held.clear()
    assert {buffers.empty(KIND, *SHAPE).ctypes.data for _ in range(3)} <= places
    smaller = buffers.empty(KIND, 2, *SHAPE[1:])
    assert pool.kept_bytes == 2 * BYTES + BYTES // 2  # one had to go for it
    del smaller
    buffers.empty(KIND, 3, *SHAPE)
    assert pool.kept_bytes == pool.unused_bytes == 3 * BYTES
    assert buffers.empty(KIND, 8, *SHAPE).shape == (8, *SHAPE)  # larger than all that may be kept
    assert pool.kept_bytes == 3 * BYTES  # which drops nothing, since that would be in vain


def test_memory_that_is_in_use_is_not_dropped(pool):
    held = [buffers.empty(KIND, *SHAPE) for _ in range(3)]
    for number, array in enumerate(held):
        array[:] = number
    buffers.empty(KIND, 2, *SHAPE)
    assert pool.kept_bytes == 3 * BYTES
    assert [array.max() for array in held] == [array.min() for array in held] == [0, 1, 2]


def test_memory_that_the_system_refuses_is_a_memory_error(pool):
    with pytest.raises(MemoryError, match="bytes"):
        buffers.empty(KIND, 2**50)


def test_small_arrays_are_left_to_numpy(pool):
    small = buffers.empty(KIND, 3, 5)
    assert small.shape == (3, 5)
    del small
    assert pool.kept_bytes == 0


def test_a_scan_leaves_nothing_taken(pool):
    """Forward and backward: all that was taken comes back with the last tensor, and the next pass takes no more."""
    generator = torch.Generator().manual_seed(0)

    def once():
        x, dt = torch.randn(2, 2, 300, 64, generator=generator).unbind()
        B, C = torch.randn(2, 2, 300, 4, generator=generator).unbind()
        leaves = [t.clone().requires_grad_() for t in (x, dt, -torch.rand(64, 4), B, C, torch.ones(64))]
        out, _ = scan_cpu(*leaves)
        out.sum().backward()
        return [leaf.grad.clone() for leaf in leaves]

    once()
    gc.collect()
    kept = pool.kept_bytes
    assert kept > 0
    once()
    gc.collect()
    assert pool.kept_bytes == pool.unused_bytes == kept
