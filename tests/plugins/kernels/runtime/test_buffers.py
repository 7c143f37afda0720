"""Buffers come back when nobody looks at them any more, at cache lines, and no more of them are kept than allowed."""

import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from icrl_plugins.kernels.runtime import buffers
from icrl_plugins.kernels.selective_scan.fused import scan_cpu
from icrl_plugins.kernels.selective_scan.reference import ScanInputs, ScanWeights

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
    assert pool.free_bytes == 0  # the view still looks at it
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
    assert pool.free_bytes == 0
    del view
    assert pool.free_bytes == pool.pooled_bytes > 0


def test_two_threads_never_get_the_same_memory(pool):
    """With the interpreter switching threads at almost every instruction: without the lock this fails."""
    takers, rounds, before = 4, 40, sys.getswitchinterval()

    def take():
        start.wait()
        return [buffers.empty(KIND, 1, *SHAPE[1:]) for _ in range(30)]

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(takers) as threads:
            for _ in range(rounds):
                start = threading.Barrier(takers)
                held = [taken.result() for taken in [threads.submit(take) for _ in range(takers)]]
                assert len({array.ctypes.data for arrays in held for array in arrays}) == takers * 30
                del held
    finally:
        sys.setswitchinterval(before)


def test_a_forked_process_shares_no_memory():
    """What parent and child write after a fork, each into what it holds, the other does not see."""
    code = """
import os, numpy as np
from icrl_plugins.kernels.runtime import buffers
kept = buffers.empty(np.dtype(np.float32), 2**18)
kept[:] = 1
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    os.read(go[0], 1)
    os._exit(0 if (kept == 1).all() else 1)
del kept
again = buffers.empty(np.dtype(np.float32), 2**18)
again[:] = 7
os.write(go[1], b"x")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells how memory is mapped")
def test_large_memory_may_lie_in_huge_pages(pool):
    array = buffers.empty(KIND, 2**22)  # 16 MiB
    array[:] = 0
    entries = Path("/proc/self/smaps").read_text(encoding="ascii").split("VmFlags")
    [entry] = [each for each in entries if f"{array.ctypes.data:x}-" in each]
    assert " rw-p " in entry
    if "[never]" not in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="ascii"):
        assert entry.split("THPeligible:")[1].split()[0] == "1"


def test_no_more_is_kept_than_allowed(pool):
    """The limit is three times `BYTES`."""
    held = [buffers.empty(KIND, *SHAPE) for _ in range(4)]
    assert pool.pooled_bytes == 3 * BYTES  # the fourth is nobody's once it is dropped
    places = {array.ctypes.data for array in held[:3]}
    held.clear()
    assert {buffers.empty(KIND, *SHAPE).ctypes.data for _ in range(3)} <= places
    assert buffers.empty(KIND, 8, *SHAPE).shape == (8, *SHAPE)  # larger than all that may be kept
    assert pool.pooled_bytes == 3 * BYTES  # for which nothing is dropped, since that would be in vain


def test_what_was_longest_not_asked_for_goes_first(pool):
    place = buffers.empty(KIND, *SHAPE).ctypes.data
    buffers.empty(KIND, 2, *SHAPE[1:])
    buffers.empty(KIND, *SHAPE)
    buffers.empty(KIND, 2, *SHAPE)  # half of `BYTES` too much
    assert pool.pooled_bytes == 3 * BYTES
    assert buffers.empty(KIND, *SHAPE).ctypes.data == place


def test_memory_that_is_in_use_is_not_dropped(pool):
    held = [buffers.empty(KIND, *SHAPE) for _ in range(3)]
    buffers.empty(KIND, 2, *SHAPE)
    assert pool.pooled_bytes == 3 * BYTES
    held.pop()
    buffers.empty(KIND, 2, *SHAPE[1:])
    assert pool.pooled_bytes == 2 * BYTES + BYTES // 2


def test_memory_that_nobody_uses_is_given_up_before_the_system_refuses(pool, monkeypatch):
    buffers.empty(KIND, *SHAPE)
    real = buffers._block

    def refuses_while_blocks_are_kept(size):
        if pool.pooled_bytes:
            raise MemoryError
        return real(size)

    monkeypatch.setattr(buffers, "_block", refuses_while_blocks_are_kept)
    assert buffers.empty(KIND, 2, *SHAPE).shape == (2, *SHAPE)
    assert pool.pooled_bytes == 2 * BYTES


def test_memory_that_the_system_refuses_is_a_memory_error(pool):
    with pytest.raises(MemoryError, match="bytes"):
        buffers.empty(KIND, 2**50)


def test_small_arrays_are_left_to_numpy(pool):
    small = buffers.empty(KIND, 3, 5)
    assert small.shape == (3, 5)
    del small
    assert pool.pooled_bytes == 0


def test_a_scan_leaves_nothing_taken(pool):
    """Forward and backward: all that was taken comes back with the last tensor, and the next pass takes no more."""
    generator = torch.Generator().manual_seed(0)

    def once():
        x, dt = torch.randn(2, 2, 300, 64, generator=generator).unbind()
        B, C = torch.randn(2, 2, 300, 4, generator=generator).unbind()
        leaves = [t.clone().requires_grad_() for t in (x, dt, -torch.rand(64, 4), B, C, torch.ones(64))]
        x, dt, A, B, C, D = leaves
        out, _ = scan_cpu(ScanInputs(x, dt, B, C), ScanWeights(A, D))
        out.sum().backward()
        return [leaf.grad.clone() for leaf in leaves]

    torch.set_num_threads(1)  # a thread that comes late may hold its arrays a moment longer
    once()
    gc.collect()
    kept = pool.pooled_bytes
    assert kept > 0
    once()
    gc.collect()
    assert pool.pooled_bytes == pool.free_bytes == kept
