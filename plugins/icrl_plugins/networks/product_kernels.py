"""Products of small matrices in registers, whose sums are finished off before they are stored.

    out[r, c] = f(Σ_p a[r, p] · panel[p, c])

Batches of a few hundred rows through layers of 64 to 256 units are too small for a call of a linear-algebra library per
network. Here tiles of four rows by four vectors (or eight rows by one, where fewer columns are left) are summed in
registers. Where rows are left over, a tile takes the last one more than once, and where columns are, it reaches back over
those that are done: it stores the same numbers again, since every number is summed in the same order in every tile.

All arrays are flat; a matrix is given by where it begins and how far its rows are apart (for `a`, its columns too).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from icrl_plugins.kernels.vectors import JIT, lane_count, load, ramp, sigmoid, splat, store, where_positive

#: How a sum is finished off: not at all; with a bias; with a bias and an activation; by an activation's slope, which
#: follows from what came out of it.
RAW, BIASED, BIASED_RELU, BIASED_TANH, RELU_SLOPE, TANH_SLOPE = range(6)

DEPTH = 64  # summands between two additions to the sum: long sums lose fewer digits in parts


@njit(**JIT)  # type: ignore[untyped-decorator]
def _finished(total, finish, other, at):  # type: ignore[no-untyped-def]
    """f of a vector of sums; `other` holds biases, or what came out of an activation, from `at` on."""
    if finish == RAW:
        return total
    held = load(other, at)
    if finish == BIASED:
        return total + held
    if finish == BIASED_RELU:
        return ramp(total + held)
    if finish == RELU_SLOPE:
        return where_positive(held, total)
    one, two = splat(other.dtype.type(1.0)), splat(other.dtype.type(2.0))
    if finish == TANH_SLOPE:
        return total * (one - held * held)
    return two * sigmoid(two * (total + held)) - one  # tanh by way of the logistic function: to 2e-7 in float32


@njit(**JIT)  # type: ignore[untyped-decorator]
def _sums_of_four(a, places, step, panel, at, wide, depth):  # type: ignore[no-untyped-def]
    """Four rows of a, from `places` on, times four vectors of the panel's columns, from `at` on."""
    lanes = lane_count(panel)
    zero = splat(panel.dtype.type(0.0))
    c00, c01, c02, c03 = zero, zero, zero, zero
    c10, c11, c12, c13 = zero, zero, zero, zero
    c20, c21, c22, c23 = zero, zero, zero, zero
    c30, c31, c32, c33 = zero, zero, zero, zero
    r0, r1, r2, r3 = places
    for p in range(depth):
        b0, b1 = load(panel, at + p * wide), load(panel, at + p * wide + lanes)
        b2, b3 = load(panel, at + p * wide + 2 * lanes), load(panel, at + p * wide + 3 * lanes)
        x = splat(a[r0 + p * step])
        c00, c01, c02, c03 = c00 + x * b0, c01 + x * b1, c02 + x * b2, c03 + x * b3
        x = splat(a[r1 + p * step])
        c10, c11, c12, c13 = c10 + x * b0, c11 + x * b1, c12 + x * b2, c13 + x * b3
        x = splat(a[r2 + p * step])
        c20, c21, c22, c23 = c20 + x * b0, c21 + x * b1, c22 + x * b2, c23 + x * b3
        x = splat(a[r3 + p * step])
        c30, c31, c32, c33 = c30 + x * b0, c31 + x * b1, c32 + x * b2, c33 + x * b3
    return (c00, c01, c02, c03), (c10, c11, c12, c13), (c20, c21, c22, c23), (c30, c31, c32, c33)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _added(first, second):  # type: ignore[no-untyped-def]
    return first[0] + second[0], first[1] + second[1], first[2] + second[2], first[3] + second[3]


@njit(**JIT)  # type: ignore[untyped-decorator]
def _store_row(sums, finish, other, other_at, out, at):  # type: ignore[no-untyped-def]
    lanes = lane_count(out)
    store(out, at, _finished(sums[0], finish, other, other_at))
    store(out, at + lanes, _finished(sums[1], finish, other, other_at + lanes))
    store(out, at + 2 * lanes, _finished(sums[2], finish, other, other_at + 2 * lanes))
    store(out, at + 3 * lanes, _finished(sums[3], finish, other, other_at + 3 * lanes))


@njit(**JIT)  # type: ignore[untyped-decorator]
def _sums_of_eight(a, places, step, panel, at, wide, depth):  # type: ignore[no-untyped-def]
    """Eight rows of a, from `places` on, times one vector of the panel's columns, from `at` on."""
    zero = splat(panel.dtype.type(0.0))
    c0, c1, c2, c3, c4, c5, c6, c7 = zero, zero, zero, zero, zero, zero, zero, zero
    r0, r1, r2, r3, r4, r5, r6, r7 = places
    for p in range(depth):
        b = load(panel, at + p * wide)
        along = p * step
        c0, c1 = c0 + splat(a[r0 + along]) * b, c1 + splat(a[r1 + along]) * b
        c2, c3 = c2 + splat(a[r2 + along]) * b, c3 + splat(a[r3 + along]) * b
        c4, c5 = c4 + splat(a[r4 + along]) * b, c5 + splat(a[r5 + along]) * b
        c6, c7 = c6 + splat(a[r6 + along]) * b, c7 + splat(a[r7 + along]) * b
    return (c0, c1, c2, c3), (c4, c5, c6, c7)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _store_column(sums, finish, other, others, out, places):  # type: ignore[no-untyped-def]
    store(out, places[0], _finished(sums[0], finish, other, others[0]))
    store(out, places[1], _finished(sums[1], finish, other, others[1]))
    store(out, places[2], _finished(sums[2], finish, other, others[2]))
    store(out, places[3], _finished(sums[3], finish, other, others[3]))


@njit(**JIT)  # type: ignore[untyped-decorator]
def _four_rows(first, rows):  # type: ignore[no-untyped-def]
    """Which rows a tile takes."""
    last = rows - 1
    return min(first, last), min(first + 1, last), min(first + 2, last), min(first + 3, last)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _places(rows, origin, apart):  # type: ignore[no-untyped-def]
    return origin + rows[0] * apart, origin + rows[1] * apart, origin + rows[2] * apart, origin + rows[3] * apart


@njit(**JIT)  # type: ignore[untyped-decorator]
def multiply(  # type: ignore[no-untyped-def]
    a, origin, row, step, rows, depth, panel, at, wide, columns, finish, other, other_at, other_row, out, out_at
):
    """out (rows, columns) from `out_at` on = f(a (rows, depth) · panel (depth, columns)).

    a's entry (r, p) is a[origin + r·row + p·step], the panel's (p, c) is panel[at + p·wide + c]. `other` has a row of
    numbers for f, from `other_at` on, for every row of the result (`other_row` apart), or one for all (0 apart).
    `columns` must fill a vector at least.
    """
    lanes = lane_count(panel)
    whole = columns // (4 * lanes) * (4 * lanes)
    for first in range(0, rows, 4):
        chosen = _four_rows(first, rows)
        places = _places(chosen, origin, row)
        for j in range(0, whole, 4 * lanes):
            s0, s1, s2, s3 = _sums_of_four(a, places, step, panel, at + j, wide, min(DEPTH, depth))
            for p in range(DEPTH, depth, DEPTH):
                t0, t1, t2, t3 = _sums_of_four(
                    a,
                    _places(chosen, origin + p * step, row),
                    step,
                    panel,
                    at + p * wide + j,
                    wide,
                    min(DEPTH, depth - p),
                )
                s0, s1, s2, s3 = _added(s0, t0), _added(s1, t1), _added(s2, t2), _added(s3, t3)
            others, to = _places(chosen, other_at + j, other_row), _places(chosen, out_at + j, columns)
            _store_row(s0, finish, other, others[0], out, to[0])
            _store_row(s1, finish, other, others[1], out, to[1])
            _store_row(s2, finish, other, others[2], out, to[2])
            _store_row(s3, finish, other, others[3], out, to[3])
    for left in range(whole, columns, lanes):
        j = min(left, columns - lanes)
        for first in range(0, rows, 8):
            upper, lower = _four_rows(first, rows), _four_rows(first + 4, rows)
            s0, s1 = _sums_of_eight(
                a,
                _places(upper, origin, row) + _places(lower, origin, row),
                step,
                panel,
                at + j,
                wide,
                min(DEPTH, depth),
            )
            for p in range(DEPTH, depth, DEPTH):
                place = origin + p * step
                t0, t1 = _sums_of_eight(
                    a,
                    _places(upper, place, row) + _places(lower, place, row),
                    step, panel, at + p * wide + j, wide, min(DEPTH, depth - p),
                )  # fmt: skip
                s0, s1 = _added(s0, t0), _added(s1, t1)
            here, there = _places(upper, other_at + j, other_row), _places(lower, other_at + j, other_row)
            _store_column(s0, finish, other, here, out, _places(upper, out_at + j, columns))
            _store_column(s1, finish, other, there, out, _places(lower, out_at + j, columns))


@njit(**JIT)  # type: ignore[untyped-decorator]
def new_padding(rows, like):  # type: ignore[no-untyped-def]
    """Room for matrices of at most `rows` rows and less than a vector's columns; see `product`."""
    return np.zeros((3, rows * lane_count(like)), like.dtype)


@njit(**JIT)  # type: ignore[untyped-decorator]
def pad(matrix, at, wide, rows, columns, padding):  # type: ignore[no-untyped-def]
    """Copies the matrix into rows of a whole vector; what lies beyond its columns is whatever was there."""
    lanes = lane_count(padding)
    for r in range(rows):
        for c in range(columns):
            padding[r * lanes + c] = matrix[at + r * wide + c]


@njit(**JIT)  # type: ignore[untyped-decorator]
def product(  # type: ignore[no-untyped-def]
    a,
    origin,
    row,
    step,
    rows,
    depth,
    panel,
    at,
    wide,
    columns,
    finish,
    other,
    other_at,
    other_row,
    out,
    out_at,
    padding,
):
    """`multiply` for any number of columns; `padding` from `new_padding` has room for all rows and for the depth."""
    lanes = lane_count(panel)
    if columns >= lanes:
        multiply(
            a, origin, row, step, rows, depth, panel, at, wide, columns, finish, other, other_at, other_row, out, out_at
        )
        return
    pad(panel, at, wide, depth, columns, padding[0])
    if finish != RAW:
        pad(other, other_at, other_row, rows if other_row else 1, columns, padding[1])
    apart = lanes if other_row else 0
    multiply(
        a, origin, row, step, rows, depth, padding[0], 0, lanes, lanes, finish, padding[1], 0, apart, padding[2], 0
    )
    for r in range(rows):
        for c in range(columns):
            out[out_at + r * columns + c] = padding[2, r * lanes + c]
