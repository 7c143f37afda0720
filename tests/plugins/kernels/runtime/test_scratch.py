"""Scratch memory of kernels: of the shape and dtype asked for, at a cache line, freed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numba import njit

from icrl_plugins.kernels.runtime.scratch import LINE_BYTES, scratch, zeros

DTYPES = [np.float32, np.float64]


@njit
def offsets(count, like):
    """From a cache line, of arrays of many sizes that are all there at once."""
    found = np.empty((2, count), np.int64)
    kept = [scratch((1, 1), like)]
    for size in range(count):
        kept.append(scratch((size + 1, 3), like))
        found[0, size] = kept[-1].ctypes.data % LINE_BYTES
        found[1, size] = zeros((size + 1,), like).ctypes.data % LINE_BYTES
    return found


@njit
def filled(like):
    array = scratch((2, 3, 5), like)
    for i in range(2):
        for j in range(3):
            for k in range(5):
                array[i, j, k] = 100 * i + 10 * j + k
    return array


@njit
def no_rows(like):
    return scratch((0, 4), like)


@njit
def fill_and_ask_again(like):
    total = 0.0
    for _ in range(1000):
        scratch((64,), like).fill(7)
        total += zeros((8, 8), like).sum()
    return total


@njit
def come_and_go(times, like):
    for _ in range(times):
        rows, others = scratch((2, 50_000), like)
        rows[0] = others[0] = 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_array_begins_at_a_cache_line(dtype: type):
    assert not offsets(200, np.zeros(1, dtype)).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_an_array_like_any_other_and_outlives_its_kernel(dtype: type):
    array = filled(np.zeros((1, 1), dtype))
    expected = 100 * np.arange(2)[:, None, None] + 10 * np.arange(3)[:, None] + np.arange(5)
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, expected)
    assert no_rows(array).shape == (0, 4)


def test_zeros_are_zeros_where_something_else_was_before():
    assert fill_and_ask_again(np.zeros(1, np.float32)) == 0


def test_it_is_freed_with_its_last_view():
    def resident_pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc here")
    like = np.zeros(1, np.float32)
    come_and_go(10, like)
    before = resident_pages()
    come_and_go(2_000, like)  # 800 MB, were they kept
    assert resident_pages() - before < 2_000
