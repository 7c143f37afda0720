"""Products in registers: numpy's numbers, and the same bits whichever tiles the processor's registers ask for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numba import njit

from icrl_plugins.kernels.dense.product import (
    BIASED,
    BIASED_RELU,
    BIASED_TANH,
    RAW,
    RELU_DERIVATIVE,
    TANH_DERIVATIVE,
    _multiply_by_six,
    _multiply_by_sixteen,
    new_padding,
    product,
)
from icrl_plugins.kernels.runtime.vectors import JIT

FINISHED: dict[int, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    RAW: lambda sums, other: sums,
    BIASED: lambda sums, other: sums + other,
    BIASED_RELU: lambda sums, other: np.maximum(sums + other, 0.0),
    BIASED_TANH: lambda sums, other: np.tanh(sums + other),
    RELU_DERIVATIVE: lambda sums, other: np.where(other > 0.0, sums, 0.0),
    TANH_DERIVATIVE: lambda sums, other: sums * (1.0 - other**2),
}


@njit(**JIT)
def in_tiles_of_sixteen(left, right, finish, other, out, rows, depth, columns):  # type: ignore[no-untyped-def]
    _multiply_by_sixteen(left, right, finish, other, (out, 0), rows, depth, columns)


@njit(**JIT)
def in_tiles_of_six(left, right, finish, other, out, rows, depth, columns):  # type: ignore[no-untyped-def]
    _multiply_by_six(left, right, finish, other, (out, 0), rows, depth, columns)


@njit(**JIT)
def as_layers_use_it(left, right, finish, other, out, rows, depth, columns):  # type: ignore[no-untyped-def]
    padding = new_padding(max(rows, depth), out)
    product(left, right, finish, other, (out, 0), (rows, depth, columns), padding)


def drawn(rows: int, depth: int, columns: int, dtype: type) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(rows * 10_000 + depth * 100 + columns)
    a, panel = generator.standard_normal((rows, depth)), generator.standard_normal((depth, columns))
    return a.astype(dtype), panel.astype(dtype), generator.uniform(-1.0, 1.0, (rows, columns)).astype(dtype)


def computed(function, a, panel, finish, other, transposed=False):  # type: ignore[no-untyped-def]
    """The product as one function computes it; the left factor may lie in memory by columns."""
    (rows, depth), columns = a.shape, panel.shape[1]
    flat = np.ascontiguousarray(a.T if transposed else a).reshape(-1)
    left = (flat, 0, 1, rows) if transposed else (flat, 0, depth, 1)
    out = np.full((rows, columns), np.nan, a.dtype)
    held = (other.reshape(-1), 0, columns)
    function(left, (panel.reshape(-1), 0, columns), finish, held, out.reshape(-1), rows, depth, columns)
    return out


@pytest.mark.parametrize("finish", FINISHED)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_numpys_numbers(finish: int, dtype: type, tolerance: float) -> None:
    for rows, depth, columns in [(1, 1, 1), (5, 3, 10), (6, 64, 16), (13, 65, 40), (64, 200, 17), (31, 7, 64)]:
        a, panel, other = drawn(rows, depth, columns, dtype)
        expected = FINISHED[finish](a.astype(np.float64) @ panel.astype(np.float64), other)
        for transposed in (False, True):
            out = computed(as_layers_use_it, a, panel, finish, other, transposed)
            np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("finish", FINISHED)
def test_the_same_bits_in_every_shape_of_tile(finish: int, dtype: type) -> None:
    """So that a processor's registers show in a result's time only."""
    for rows, depth, columns in [(1, 1, 16), (5, 64, 16), (8, 65, 33), (13, 130, 64), (64, 256, 80)]:
        a, panel, other = drawn(rows, depth, columns, dtype)
        for transposed in (False, True):
            six = computed(in_tiles_of_six, a, panel, finish, other, transposed)
            sixteen = computed(in_tiles_of_sixteen, a, panel, finish, other, transposed)
            assert np.isfinite(six).all()
            assert six.tobytes() == sixteen.tobytes()


@pytest.mark.parametrize("function", [in_tiles_of_six, in_tiles_of_sixteen, as_layers_use_it])
def test_a_result_can_be_added_to_where_it_lies(function: Callable[..., None]) -> None:
    """Rows that a tile takes twice count once."""
    for rows, depth, columns in [(1, 5, 16), (7, 3, 64), (32, 64, 16), (33, 64, 80)]:
        a, panel, before = drawn(rows, depth, columns, np.float64)
        out = before.copy()
        held, left = (out.reshape(-1), 0, columns), (a.reshape(-1), 0, depth, 1)
        function(left, (panel.reshape(-1), 0, columns), BIASED, held, out.reshape(-1), rows, depth, columns)
        np.testing.assert_allclose(out, before + a @ panel, rtol=1e-12, atol=1e-12)
