"""Products of small matrices in registers, whose sums are finished off before they are stored.

    out[r, c] = f(Σ_p a[r, p] · panel[p, c])

Batches of a few hundred rows through layers of 64 to 256 units are too small for a call of a linear-algebra library per
network. Here tiles are summed in registers: with AVX-512, 32 registers of a vector each, tiles of four rows by four vectors
(or eight rows by one, where fewer columns are left); elsewhere, where a vector takes two registers of AVX2's 16, or four of
NEON's 32, tiles of six rows by one. Where rows are left over, a tile takes the last one more than once, and where columns
are, it reaches back over those that are done: it stores the same numbers again, since every number is summed in the same
order in every tile, whatever its shape, and a tile has read all that it needs before it stores.

Matrices are given as parts of flat arrays, by tuples:

- the left factor a: (array, where it begins, how far its rows are apart, and its columns)
- the right factor, the panel, and `operand`, which f reads: (array, where it begins, how far its rows are apart)
- the result: (array, where it begins); its rows follow each other.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from icrl_plugins.kernels.runtime.vectors import (
    INLINED,
    JIT,
    VECTOR_REGISTERS,
    lane_count,
    load,
    relu,
    sigmoid,
    splat,
    spread,
    store,
    where_positive,
)
from icrl_registry.contracts import Array

#: How a sum is finished off: not at all; with a bias; with a bias and an activation; by an activation's derivative, which
#: follows from what came out of it.
RAW, BIASED, BIASED_RELU, BIASED_TANH, RELU_DERIVATIVE, TANH_DERIVATIVE = range(6)

# Loops over summands need care with what LLVM makes of them. Unrolled, they keep more factors ready than there are registers
# for, and sums go through memory. Tiles of sixteen and eight index an array, whose test for a negative index prevents
# that; tiles of six use `spread`, without the test, in one loop for all parts of a sum, which LLVM unrolls and leaves in
# registers. On one core of AMD's Zen 3, which has AVX2, 256 x 64 x 64 in tiles of six ran at 87 GFLOP/s, of sixteen at 31.
DEPTH = 64  # summands between two additions to the sum: long sums lose fewer digits in parts


@njit(**INLINED)
def _finish(total, epilogue, operand, offset):
    """f of a vector of sums; `operand` holds biases, or what came out of an activation, from `offset` on."""
    if epilogue == RAW:
        return total
    values = load(operand, offset)
    if epilogue == BIASED:
        return total + values
    if epilogue == BIASED_RELU:
        return relu(total + values)
    if epilogue == RELU_DERIVATIVE:
        return where_positive(values, total)
    one, two = splat(operand.dtype.type(1.0)), splat(operand.dtype.type(2.0))
    if epilogue == TANH_DERIVATIVE:
        return total * (one - values * values)
    # tanh by way of the logistic function: to 2e-7 in float32
    return two * sigmoid(two * (total + values)) - one


@njit(**INLINED)
def _part_of_four(a, row_offsets, step, panel, offset, row_length, depth):
    """`depth` summands of `_sums_of_four`: rows of a from `row_offsets` on, columns of the panel from `offset` on."""
    lanes = lane_count(panel)
    zero = splat(panel.dtype.type(0.0))
    c00, c01, c02, c03 = zero, zero, zero, zero
    c10, c11, c12, c13 = zero, zero, zero, zero
    c20, c21, c22, c23 = zero, zero, zero, zero
    c30, c31, c32, c33 = zero, zero, zero, zero
    r0, r1, r2, r3 = row_offsets
    for p in range(depth):
        b0, b1 = load(panel, offset + p * row_length), load(panel, offset + p * row_length + lanes)
        b2, b3 = load(panel, offset + p * row_length + 2 * lanes), load(panel, offset + p * row_length + 3 * lanes)
        x = splat(a[r0 + p * step])
        c00, c01, c02, c03 = c00 + x * b0, c01 + x * b1, c02 + x * b2, c03 + x * b3
        x = splat(a[r1 + p * step])
        c10, c11, c12, c13 = c10 + x * b0, c11 + x * b1, c12 + x * b2, c13 + x * b3
        x = splat(a[r2 + p * step])
        c20, c21, c22, c23 = c20 + x * b0, c21 + x * b1, c22 + x * b2, c23 + x * b3
        x = splat(a[r3 + p * step])
        c30, c31, c32, c33 = c30 + x * b0, c31 + x * b1, c32 + x * b2, c33 + x * b3
    return (c00, c01, c02, c03), (c10, c11, c12, c13), (c20, c21, c22, c23), (c30, c31, c32, c33)


@njit(**INLINED)
def _part_of_eight(a, upper, lower, step, panel, offset, row_length, depth):
    """`depth` summands of `_sums_of_eight`: rows of a from `upper` and `lower` on, columns of the panel from `offset` on."""
    zero = splat(panel.dtype.type(0.0))
    c0, c1, c2, c3, c4, c5, c6, c7 = zero, zero, zero, zero, zero, zero, zero, zero
    r0, r1, r2, r3 = upper
    r4, r5, r6, r7 = lower
    for p in range(depth):
        b = load(panel, offset + p * row_length)
        column = p * step
        c0, c1 = c0 + splat(a[r0 + column]) * b, c1 + splat(a[r1 + column]) * b
        c2, c3 = c2 + splat(a[r2 + column]) * b, c3 + splat(a[r3 + column]) * b
        c4, c5 = c4 + splat(a[r4 + column]) * b, c5 + splat(a[r5 + column]) * b
        c6, c7 = c6 + splat(a[r6 + column]) * b, c7 + splat(a[r7 + column]) * b
    return (c0, c1, c2, c3), (c4, c5, c6, c7)


@njit(**INLINED)
def _part_of_six(a, row_offsets, step, panel, offset, row_length, depth):
    """`depth` summands of `_sums_of_six`: rows of a from `row_offsets` on, columns of the panel from `offset` on."""
    zero = splat(panel.dtype.type(0.0))
    c0, c1, c2, c3, c4, c5 = zero, zero, zero, zero, zero, zero
    r0, r1, r2, r3, r4, r5 = row_offsets
    for p in range(depth):
        b = load(panel, offset + p * row_length)
        column = p * step
        c0, c1, c2 = c0 + spread(a, r0 + column) * b, c1 + spread(a, r1 + column) * b, c2 + spread(a, r2 + column) * b
        c3, c4, c5 = c3 + spread(a, r3 + column) * b, c4 + spread(a, r4 + column) * b, c5 + spread(a, r5 + column) * b
    return c0, c1, c2, c3, c4, c5


@njit(**INLINED)
def _added(first, second):
    return first[0] + second[0], first[1] + second[1], first[2] + second[2], first[3] + second[3]


@njit(**JIT)
def _row_offsets(rows, origin, stride):
    return origin + rows[0] * stride, origin + rows[1] * stride, origin + rows[2] * stride, origin + rows[3] * stride


@njit(**JIT)
def _six_row_offsets(rows, origin, stride):
    p0, p1, p2 = origin + rows[0] * stride, origin + rows[1] * stride, origin + rows[2] * stride
    return p0, p1, p2, origin + rows[3] * stride, origin + rows[4] * stride, origin + rows[5] * stride


@njit(**INLINED)
def _sums_of_four(left, rows, right, depth):
    """Four rows of a times four vectors of the panel, whose columns begin at `offset`."""
    (a, origin, row, step), (panel, offset, row_length) = left, right
    s0, s1, s2, s3 = _part_of_four(
        a, _row_offsets(rows, origin, row), step, panel, offset, row_length, min(DEPTH, depth)
    )
    for p in range(DEPTH, depth, DEPTH):
        row_offsets, part = _row_offsets(rows, origin + p * step, row), min(DEPTH, depth - p)
        t0, t1, t2, t3 = _part_of_four(a, row_offsets, step, panel, offset + p * row_length, row_length, part)
        s0, s1, s2, s3 = _added(s0, t0), _added(s1, t1), _added(s2, t2), _added(s3, t3)
    return s0, s1, s2, s3


@njit(**INLINED)
def _sums_of_eight(left, upper, lower, right, depth):
    """Eight rows of a times one vector of the panel, whose column begins at `offset`."""
    (a, origin, row, step), (panel, offset, row_length) = left, right
    upper_offsets, lower_offsets = _row_offsets(upper, origin, row), _row_offsets(lower, origin, row)
    s0, s1 = _part_of_eight(a, upper_offsets, lower_offsets, step, panel, offset, row_length, min(DEPTH, depth))
    for p in range(DEPTH, depth, DEPTH):
        upper_offsets = _row_offsets(upper, origin + p * step, row)
        lower_offsets = _row_offsets(lower, origin + p * step, row)
        t0, t1 = _part_of_eight(
            a, upper_offsets, lower_offsets, step, panel, offset + p * row_length, row_length, min(DEPTH, depth - p)
        )
        s0, s1 = _added(s0, t0), _added(s1, t1)
    return s0, s1


@njit(**INLINED)
def _sums_of_six(left, rows, right, depth):
    """Six rows of a times one vector of the panel, whose column begins at `offset`."""
    (a, origin, row, step), (panel, offset, row_length) = left, right
    zero = splat(panel.dtype.type(0.0))
    s = zero, zero, zero, zero, zero, zero
    for p in range(0, depth, DEPTH):
        row_offsets, part = _six_row_offsets(rows, origin + p * step, row), min(DEPTH, depth - p)
        t = _part_of_six(a, row_offsets, step, panel, offset + p * row_length, row_length, part)
        s = s[0] + t[0], s[1] + t[1], s[2] + t[2], s[3] + t[3], s[4] + t[4], s[5] + t[5]
    return s


@njit(**INLINED)
def _finish_row(sums, epilogue, operand, other_offset):
    """Four vectors side by side."""
    lanes = lane_count(operand)
    f0 = _finish(sums[0], epilogue, operand, other_offset)
    f1 = _finish(sums[1], epilogue, operand, other_offset + lanes)
    f2 = _finish(sums[2], epilogue, operand, other_offset + 2 * lanes)
    f3 = _finish(sums[3], epilogue, operand, other_offset + 3 * lanes)
    return f0, f1, f2, f3


@njit(**INLINED)
def _finish_column(sums, epilogue, operand, other_offset):
    """Four vectors, each in a row of its own."""
    f0, f1 = _finish(sums[0], epilogue, operand, other_offset[0]), _finish(sums[1], epilogue, operand, other_offset[1])
    f2, f3 = _finish(sums[2], epilogue, operand, other_offset[2]), _finish(sums[3], epilogue, operand, other_offset[3])
    return f0, f1, f2, f3


@njit(**INLINED)
def _store_row(vectors, out, offset):
    lanes = lane_count(out)
    store(out, offset, vectors[0])
    store(out, offset + lanes, vectors[1])
    store(out, offset + 2 * lanes, vectors[2])
    store(out, offset + 3 * lanes, vectors[3])


@njit(**INLINED)
def _store_column(vectors, out, row_offsets):
    store(out, row_offsets[0], vectors[0])
    store(out, row_offsets[1], vectors[1])
    store(out, row_offsets[2], vectors[2])
    store(out, row_offsets[3], vectors[3])


@njit(**JIT)
def _four_rows(first, rows):
    """Which rows a tile takes."""
    last = rows - 1
    return min(first, last), min(first + 1, last), min(first + 2, last), min(first + 3, last)


@njit(**JIT)
def _multiply_by_six(left, right, epilogue, operand, result, rows, depth, columns):
    """`_multiply` in tiles of six rows by one vector."""
    (panel, offset, row_length), (other, other_offset, stride), (out, out_offset) = right, operand, result
    lanes, last = lane_count(out), rows - 1
    for first in range(0, rows, 6):
        upper = min(first, last), min(first + 1, last), min(first + 2, last)
        tile = (*upper, min(first + 3, last), min(first + 4, last), min(first + 5, last))
        for next_column in range(0, columns, lanes):
            j = min(next_column, columns - lanes)
            s = _sums_of_six(left, tile, (panel, offset + j, row_length), depth)
            other_offsets = _six_row_offsets(tile, other_offset + j, stride)
            out_offsets = _six_row_offsets(tile, out_offset + j, columns)
            f0, f1 = _finish(s[0], epilogue, other, other_offsets[0]), _finish(s[1], epilogue, other, other_offsets[1])
            f2, f3 = _finish(s[2], epilogue, other, other_offsets[2]), _finish(s[3], epilogue, other, other_offsets[3])
            f4, f5 = _finish(s[4], epilogue, other, other_offsets[4]), _finish(s[5], epilogue, other, other_offsets[5])
            store(out, out_offsets[0], f0)
            store(out, out_offsets[1], f1)
            store(out, out_offsets[2], f2)
            store(out, out_offsets[3], f3)
            store(out, out_offsets[4], f4)
            store(out, out_offsets[5], f5)


@njit(**JIT)
def _multiply_by_sixteen(left, right, epilogue, operand, result, rows, depth, columns):
    """`_multiply` in tiles of sixteen vectors, and of eight for the last columns."""
    (panel, offset, row_length), (other, other_offset, stride), (out, out_offset) = right, operand, result
    lanes = lane_count(out)
    whole = columns // (4 * lanes) * (4 * lanes)
    for first in range(0, rows, 4):
        tile = _four_rows(first, rows)
        for j in range(0, whole, 4 * lanes):
            s0, s1, s2, s3 = _sums_of_four(left, tile, (panel, offset + j, row_length), depth)
            out_offsets = _row_offsets(tile, out_offset + j, columns)
            other_offsets = _row_offsets(tile, other_offset + j, stride)
            f0 = _finish_row(s0, epilogue, other, other_offsets[0])
            f1 = _finish_row(s1, epilogue, other, other_offsets[1])
            f2 = _finish_row(s2, epilogue, other, other_offsets[2])
            f3 = _finish_row(s3, epilogue, other, other_offsets[3])
            _store_row(f0, out, out_offsets[0])
            _store_row(f1, out, out_offsets[1])
            _store_row(f2, out, out_offsets[2])
            _store_row(f3, out, out_offsets[3])
    for next_column in range(whole, columns, lanes):
        j = min(next_column, columns - lanes)
        for first in range(0, rows, 8):
            upper, lower = _four_rows(first, rows), _four_rows(first + 4, rows)
            s0, s1 = _sums_of_eight(left, upper, lower, (panel, offset + j, row_length), depth)
            f0 = _finish_column(s0, epilogue, other, _row_offsets(upper, other_offset + j, stride))
            f1 = _finish_column(s1, epilogue, other, _row_offsets(lower, other_offset + j, stride))
            _store_column(f0, out, _row_offsets(upper, out_offset + j, columns))
            _store_column(f1, out, _row_offsets(lower, out_offset + j, columns))


#: `product` for as many columns as a vector holds, or more.
_multiply = _multiply_by_sixteen if VECTOR_REGISTERS == 32 else _multiply_by_six


@njit(**JIT)
def new_padding(rows, like) -> Array:
    """Room for matrices of at most `rows` rows that don't fill a vector; see `product`."""
    return np.zeros((3, rows * lane_count(like)), like.dtype)


@njit(**JIT)
def _pad(matrix, rows, columns, padded):
    """Copies a matrix into rows of a whole vector; what lies beyond its columns is whatever was there."""
    (array, offset, row_length), lanes = matrix, lane_count(padded)
    for r in range(rows):
        for c in range(columns):
            padded[r * lanes + c] = array[offset + r * row_length + c]


@njit(**JIT)
def product(left, right, epilogue, operand, result, shape, padding) -> None:
    """result (rows, columns) = f(a (rows, depth) · panel (depth, columns)); shape is (rows, depth, columns).

    The module says how matrices are given.

    `operand`, where f reads it, has a row for every row of the result, or one for all (a stride of 0). It may be the result
    itself, to add to it, if the columns fill whole vectors. `padding` is of `new_padding`, for as many rows as result and
    panel have.
    """
    (_, _, stride), (out, out_offset), (rows, depth, columns) = operand, result, shape
    lanes = lane_count(out)
    if columns >= lanes:
        _multiply(left, right, epilogue, operand, result, rows, depth, columns)
        return
    panel, other, padded_result = padding[0], padding[1], padding[2]
    _pad(right, depth, columns, panel)
    if epilogue != RAW:
        _pad(operand, rows if stride else 1, columns, other)
    padded = (other, 0, lanes if stride else 0)
    _multiply(left, (panel, 0, lanes), epilogue, padded, (padded_result, 0), rows, depth, lanes)
    for r in range(rows):
        for c in range(columns):
            out[out_offset + r * columns + c] = padded_result[r * lanes + c]
