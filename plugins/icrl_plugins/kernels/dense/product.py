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
- the right factor, the panel, and `other`, which f reads: (array, where it begins, how far its rows are apart)
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

#: How a sum is finished off: not at all; with a bias; with a bias and an activation; by an activation's derivative, which
#: follows from what came out of it.
RAW, BIASED, BIASED_RELU, BIASED_TANH, RELU_DERIVATIVE, TANH_DERIVATIVE = range(6)

# Loops over summands need care with what LLVM makes of them. Unrolled, they keep more factors ready than there are registers
# for, and sums go through memory. Tiles of sixteen and eight index an array, whose test for a negative index prevents
# that; tiles of six use `spread`, without the test, in one loop for all parts of a sum, which LLVM unrolls and leaves in
# registers. On one core of AMD's Zen 3, which has AVX2, 256 x 64 x 64 in tiles of six ran at 87 GFLOP/s, of sixteen at 31.
DEPTH = 64  # summands between two additions to the sum: long sums lose fewer digits in parts


@njit(**INLINED)
def _finished(total, finish, other, at):
    """f of a vector of sums; `other` holds biases, or what came out of an activation, from `at` on."""
    if finish == RAW:
        return total
    held = load(other, at)
    if finish == BIASED:
        return total + held
    if finish == BIASED_RELU:
        return relu(total + held)
    if finish == RELU_DERIVATIVE:
        return where_positive(held, total)
    one, two = splat(other.dtype.type(1.0)), splat(other.dtype.type(2.0))
    if finish == TANH_DERIVATIVE:
        return total * (one - held * held)
    return two * sigmoid(two * (total + held)) - one  # tanh by way of the logistic function: to 2e-7 in float32


@njit(**INLINED)
def _part_of_four(a, places, step, panel, at, row_length, depth):
    """`depth` summands of `_sums_of_four`: rows of a from `places` on, columns of the panel from `at` on."""
    lanes = lane_count(panel)
    zero = splat(panel.dtype.type(0.0))
    c00, c01, c02, c03 = zero, zero, zero, zero
    c10, c11, c12, c13 = zero, zero, zero, zero
    c20, c21, c22, c23 = zero, zero, zero, zero
    c30, c31, c32, c33 = zero, zero, zero, zero
    r0, r1, r2, r3 = places
    for p in range(depth):
        b0, b1 = load(panel, at + p * row_length), load(panel, at + p * row_length + lanes)
        b2, b3 = load(panel, at + p * row_length + 2 * lanes), load(panel, at + p * row_length + 3 * lanes)
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
def _part_of_eight(a, upper, lower, step, panel, at, row_length, depth):
    """`depth` summands of `_sums_of_eight`: rows of a from `upper` and `lower` on, columns of the panel from `at` on."""
    zero = splat(panel.dtype.type(0.0))
    c0, c1, c2, c3, c4, c5, c6, c7 = zero, zero, zero, zero, zero, zero, zero, zero
    r0, r1, r2, r3 = upper
    r4, r5, r6, r7 = lower
    for p in range(depth):
        b = load(panel, at + p * row_length)
        along = p * step
        c0, c1 = c0 + splat(a[r0 + along]) * b, c1 + splat(a[r1 + along]) * b
        c2, c3 = c2 + splat(a[r2 + along]) * b, c3 + splat(a[r3 + along]) * b
        c4, c5 = c4 + splat(a[r4 + along]) * b, c5 + splat(a[r5 + along]) * b
        c6, c7 = c6 + splat(a[r6 + along]) * b, c7 + splat(a[r7 + along]) * b
    return (c0, c1, c2, c3), (c4, c5, c6, c7)


@njit(**INLINED)
def _part_of_six(a, places, step, panel, at, row_length, depth):
    """`depth` summands of `_sums_of_six`: rows of a from `places` on, columns of the panel from `at` on."""
    zero = splat(panel.dtype.type(0.0))
    c0, c1, c2, c3, c4, c5 = zero, zero, zero, zero, zero, zero
    r0, r1, r2, r3, r4, r5 = places
    for p in range(depth):
        b = load(panel, at + p * row_length)
        along = p * step
        c0, c1, c2 = c0 + spread(a, r0 + along) * b, c1 + spread(a, r1 + along) * b, c2 + spread(a, r2 + along) * b
        c3, c4, c5 = c3 + spread(a, r3 + along) * b, c4 + spread(a, r4 + along) * b, c5 + spread(a, r5 + along) * b
    return c0, c1, c2, c3, c4, c5


@njit(**INLINED)
def _added(first, second):
    return first[0] + second[0], first[1] + second[1], first[2] + second[2], first[3] + second[3]


@njit(**JIT)
def _places(rows, origin, apart):
    return origin + rows[0] * apart, origin + rows[1] * apart, origin + rows[2] * apart, origin + rows[3] * apart


@njit(**JIT)
def _six_places(rows, origin, apart):
    p0, p1, p2 = origin + rows[0] * apart, origin + rows[1] * apart, origin + rows[2] * apart
    return p0, p1, p2, origin + rows[3] * apart, origin + rows[4] * apart, origin + rows[5] * apart


@njit(**INLINED)
def _sums_of_four(left, rows, right, depth):
    """Four rows of a times four vectors of the panel, whose columns begin at `at`."""
    (a, origin, row, step), (panel, at, row_length) = left, right
    s0, s1, s2, s3 = _part_of_four(a, _places(rows, origin, row), step, panel, at, row_length, min(DEPTH, depth))
    for p in range(DEPTH, depth, DEPTH):
        places, part = _places(rows, origin + p * step, row), min(DEPTH, depth - p)
        t0, t1, t2, t3 = _part_of_four(a, places, step, panel, at + p * row_length, row_length, part)
        s0, s1, s2, s3 = _added(s0, t0), _added(s1, t1), _added(s2, t2), _added(s3, t3)
    return s0, s1, s2, s3


@njit(**INLINED)
def _sums_of_eight(left, upper, lower, right, depth):
    """Eight rows of a times one vector of the panel, whose column begins at `at`."""
    (a, origin, row, step), (panel, at, row_length) = left, right
    places, others = _places(upper, origin, row), _places(lower, origin, row)
    s0, s1 = _part_of_eight(a, places, others, step, panel, at, row_length, min(DEPTH, depth))
    for p in range(DEPTH, depth, DEPTH):
        places, others = _places(upper, origin + p * step, row), _places(lower, origin + p * step, row)
        t0, t1 = _part_of_eight(a, places, others, step, panel, at + p * row_length, row_length, min(DEPTH, depth - p))
        s0, s1 = _added(s0, t0), _added(s1, t1)
    return s0, s1


@njit(**INLINED)
def _sums_of_six(left, rows, right, depth):
    """Six rows of a times one vector of the panel, whose column begins at `at`."""
    (a, origin, row, step), (panel, at, row_length) = left, right
    zero = splat(panel.dtype.type(0.0))
    s = zero, zero, zero, zero, zero, zero
    for p in range(0, depth, DEPTH):
        places, part = _six_places(rows, origin + p * step, row), min(DEPTH, depth - p)
        t = _part_of_six(a, places, step, panel, at + p * row_length, row_length, part)
        s = s[0] + t[0], s[1] + t[1], s[2] + t[2], s[3] + t[3], s[4] + t[4], s[5] + t[5]
    return s


@njit(**INLINED)
def _finished_row(sums, finish, other, read):
    """Four vectors side by side."""
    lanes = lane_count(other)
    f0, f1 = _finished(sums[0], finish, other, read), _finished(sums[1], finish, other, read + lanes)
    f2, f3 = _finished(sums[2], finish, other, read + 2 * lanes), _finished(sums[3], finish, other, read + 3 * lanes)
    return f0, f1, f2, f3


@njit(**INLINED)
def _finished_column(sums, finish, other, read):
    """Four vectors, each in a row of its own."""
    f0, f1 = _finished(sums[0], finish, other, read[0]), _finished(sums[1], finish, other, read[1])
    return f0, f1, _finished(sums[2], finish, other, read[2]), _finished(sums[3], finish, other, read[3])


@njit(**INLINED)
def _store_row(vectors, out, at):
    lanes = lane_count(out)
    store(out, at, vectors[0])
    store(out, at + lanes, vectors[1])
    store(out, at + 2 * lanes, vectors[2])
    store(out, at + 3 * lanes, vectors[3])


@njit(**INLINED)
def _store_column(vectors, out, places):
    store(out, places[0], vectors[0])
    store(out, places[1], vectors[1])
    store(out, places[2], vectors[2])
    store(out, places[3], vectors[3])


@njit(**JIT)
def _four_rows(first, rows):
    """Which rows a tile takes."""
    last = rows - 1
    return min(first, last), min(first + 1, last), min(first + 2, last), min(first + 3, last)


@njit(**JIT)
def _multiply_by_six(left, right, finish, other, result, rows, depth, columns):
    """`_multiply` in tiles of six rows by one vector."""
    (panel, at, row_length), (held, read, apart), (out, to) = right, other, result
    lanes, last = lane_count(out), rows - 1
    for first in range(0, rows, 6):
        upper = min(first, last), min(first + 1, last), min(first + 2, last)
        chosen = (*upper, min(first + 3, last), min(first + 4, last), min(first + 5, last))
        for next_column in range(0, columns, lanes):
            j = min(next_column, columns - lanes)
            s = _sums_of_six(left, chosen, (panel, at + j, row_length), depth)
            read_at, store_at = _six_places(chosen, read + j, apart), _six_places(chosen, to + j, columns)
            f0, f1 = _finished(s[0], finish, held, read_at[0]), _finished(s[1], finish, held, read_at[1])
            f2, f3 = _finished(s[2], finish, held, read_at[2]), _finished(s[3], finish, held, read_at[3])
            f4, f5 = _finished(s[4], finish, held, read_at[4]), _finished(s[5], finish, held, read_at[5])
            store(out, store_at[0], f0)
            store(out, store_at[1], f1)
            store(out, store_at[2], f2)
            store(out, store_at[3], f3)
            store(out, store_at[4], f4)
            store(out, store_at[5], f5)


@njit(**JIT)
def _multiply_by_sixteen(left, right, finish, other, result, rows, depth, columns):
    """`_multiply` in tiles of sixteen vectors, and of eight for the last columns."""
    (panel, at, row_length), (held, read, apart), (out, to) = right, other, result
    lanes = lane_count(out)
    whole = columns // (4 * lanes) * (4 * lanes)
    for first in range(0, rows, 4):
        chosen = _four_rows(first, rows)
        for j in range(0, whole, 4 * lanes):
            s0, s1, s2, s3 = _sums_of_four(left, chosen, (panel, at + j, row_length), depth)
            places, others = _places(chosen, to + j, columns), _places(chosen, read + j, apart)
            f0, f1 = _finished_row(s0, finish, held, others[0]), _finished_row(s1, finish, held, others[1])
            f2, f3 = _finished_row(s2, finish, held, others[2]), _finished_row(s3, finish, held, others[3])
            _store_row(f0, out, places[0])
            _store_row(f1, out, places[1])
            _store_row(f2, out, places[2])
            _store_row(f3, out, places[3])
    for next_column in range(whole, columns, lanes):
        j = min(next_column, columns - lanes)
        for first in range(0, rows, 8):
            upper, lower = _four_rows(first, rows), _four_rows(first + 4, rows)
            s0, s1 = _sums_of_eight(left, upper, lower, (panel, at + j, row_length), depth)
            f0 = _finished_column(s0, finish, held, _places(upper, read + j, apart))
            f1 = _finished_column(s1, finish, held, _places(lower, read + j, apart))
            _store_column(f0, out, _places(upper, to + j, columns))
            _store_column(f1, out, _places(lower, to + j, columns))


#: `product` for as many columns as a vector holds, or more.
_multiply = _multiply_by_sixteen if VECTOR_REGISTERS == 32 else _multiply_by_six


@njit(**JIT)
def new_padding(rows, like):
    """Room for matrices of at most `rows` rows that don't fill a vector; see `product`."""
    return np.zeros((3, rows * lane_count(like)), like.dtype)


@njit(**JIT)
def _pad(matrix, rows, columns, padded):
    """Copies a matrix into rows of a whole vector; what lies beyond its columns is whatever was there."""
    (array, at, row_length), lanes = matrix, lane_count(padded)
    for r in range(rows):
        for c in range(columns):
            padded[r * lanes + c] = array[at + r * row_length + c]


@njit(**JIT)
def product(left, right, finish, other, result, shape, padding):
    """result (rows, columns) = f(a (rows, depth) · panel (depth, columns)); shape is (rows, depth, columns).

    The module says how matrices are given.

    `other`, where f reads it, has a row for every row of the result, or one for all (0 apart). It may be the result itself,
    to add to it, if the columns fill whole vectors. `padding` is of `new_padding`, for as many rows as result and panel have.
    """
    (_, _, apart), (out, to), (rows, depth, columns) = other, result, shape
    lanes = lane_count(out)
    if columns >= lanes:
        _multiply(left, right, finish, other, result, rows, depth, columns)
        return
    panel, held, found = padding[0], padding[1], padding[2]
    _pad(right, depth, columns, panel)
    if finish != RAW:
        _pad(other, rows if apart else 1, columns, held)
    padded = (held, 0, lanes if apart else 0)
    _multiply(left, (panel, 0, lanes), finish, padded, (found, 0), rows, depth, lanes)
    for r in range(rows):
        for c in range(columns):
            out[to + r * columns + c] = found[r * lanes + c]
