"""Buffers come back when nobody looks at them any more, at cache lines, and no more of them are kept than allowed."""

import gc

import numpy as np
import pytest
import torch

from icrl_plugins.backbones.mamba import buffers
from icrl_plugins.backbones.mamba.scan_cpu import scan_cpu

KIND = np.dtype(np.float32)
SHAPE = (4, 64, 512)  # 512 kB


@pytest.fixture
def pool(monkeypatch):
    fresh = buffers.BufferPool(3 * 2**19)
    monkeypatch.setattr(buffers, "_POOL", fresh)
    return fresh


def test_a_tensors_memory_is_used_again_once_it_is_gone(pool):
    first = torch.from_numpy(buffers.empty(KIND, *SHAPE))
    place = first.data_ptr()
    view = first[1:]
    del first
    gc.collect()
    assert pool.kept_bytes == 0  # the view still looks at it
    other = buffers.empty(KIND, *SHAPE)
    assert other.ctypes.data != place
    del view
    again = buffers.empty(KIND, *SHAPE)
    assert again.ctypes.data == place
    assert again.shape == SHAPE
    assert again.dtype == KIND
    assert again.ctypes.data % buffers.LINE_BYTES == 0


def test_the_longest_unused_goes_when_too_many_are_kept(pool):
    held = [buffers.empty(KIND, *SHAPE) for _ in range(4)]
    places = [array.ctypes.data for array in held]
    while held:
        del held[0]
    assert pool.kept_bytes == 3 * 2**19
    assert {buffers.empty(KIND, *SHAPE).ctypes.data for _ in range(3)} <= set(places[1:])
    too_large = buffers.empty(KIND, 8, *SHAPE)
    kept = pool.kept_bytes
    del too_large
    assert pool.kept_bytes == kept


def test_a_busy_pool_lets_a_buffer_go(pool):
    """A garbage collection in the midst of `take` must neither wait for it nor change what it looks through."""
    held = buffers.empty(KIND, *SHAPE)
    with pool._lock:
        del held
    assert pool.kept_bytes == 0
    assert buffers.empty(KIND, *SHAPE).shape == SHAPE


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
    assert pool.kept_bytes == kept
