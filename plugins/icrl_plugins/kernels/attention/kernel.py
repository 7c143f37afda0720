"""Causal attention and its gradient, block by block (Dao et al., 2022, algorithms 1 and 4), for narrow heads.

    S = Q Kᵀ / √D      P = softmax of S over the keys up to the query      O = P V

A block of `ROWS` queries by `KEYS` keys of S and P fits the first-level cache and is never written out; what is kept is
a number a query, the logarithm of the sum of its exponentials, from which the way back computes P again. A task is one
head, so no two threads add to the same gradient.

Letters: H heads of all sequences, T positions, D numbers a head. Within a task numbers are padded to whole vectors (P), and
positions to whole blocks, with zeros. Exponents carry the factor of `decay_scale`, so that `decay` takes them as they are.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from icrl_plugins.kernels.dense.product import BIASED, RAW, new_padding, product
from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.tasks import tasks
from icrl_plugins.kernels.runtime.vectors import (
    JIT,
    decay,
    decay_scale,
    lane_count,
    lane_sum,
    load,
    ramp,
    splat,
    store,
)

#: Multiples of the tallest tile (8): sums grow in place, and a tile that took a row twice would add to it twice.
ROWS, KEYS = 32, 128
#: A score below all others; infinity less itself would be no number. `decay` is never quite 0: weights are masked again.
_MASKED = -1e30


@compiled
def forward(counters, queries, keys, values, scale, out, logsums):  # type: ignore[no-untyped-def]
    """queries, keys, values (H, T, D) → out (H, T, D) and `logsums` (H, T), of the softmax's sums.

    Those are logarithms in the unit of `decay`: to the base 2 in float32, natural ones in float64.
    """
    heads, steps, size = queries.shape
    wide, long = _rounded(size, lane_count(queries)), _rounded(steps, KEYS)
    number, zero = queries.dtype.type, queries.dtype.type(0.0)
    unit = decay_scale(zero)
    turned, held = np.zeros(wide * long, queries.dtype), np.zeros(long * wide, queries.dtype)
    block, found = np.zeros(ROWS * wide, queries.dtype), np.empty(ROWS * wide, queries.dtype)
    scores, largest, sums = np.empty(ROWS * KEYS, out.dtype), np.empty(ROWS, out.dtype), np.empty(ROWS, out.dtype)
    padding, lanes = new_padding(1, queries), np.empty(lane_count(queries), out.dtype)
    for head in tasks(counters, heads):
        _turn(keys[head], long, turned)
        _pad(values[head], 0, steps, wide, number(1.0), held)
        for first in range(0, steps, ROWS):
            rows = min(ROWS, steps - first)
            _pad(queries[head], first, rows, wide, number(scale) * unit, block)
            found[:] = zero
            largest[:] = number(_MASKED)
            sums[:] = zero
            for begin in range(0, first + rows, KEYS):
                _score(block, turned, begin, long, wide, scores, first, padding)
                _weigh(scores, largest, sums, found, wide, lanes)
                _mask(scores, first, begin, 0.0)
                rest = (held, begin * wide, wide)
                product((scores, 0, KEYS, 1), rest, BIASED, (found, 0, wide), (found, 0), ROWS, KEYS, wide, padding)
            for r in range(rows):
                share = number(1.0) / sums[r]
                logsums[head, first + r] = largest[r] + np.log(sums[r]) * unit
                for d in range(size):
                    out[head, first + r, d] = found[r * wide + d] * share


@compiled
def backward(  # type: ignore[no-untyped-def]
    counters, queries, keys, values, scale, out, logsums, by_out, by_queries, by_keys, by_values
):
    """From the gradient of the outputs to those of queries, keys and values, (H, T, D) each."""
    heads, steps, size = queries.shape
    wide, long = _rounded(size, lane_count(queries)), _rounded(steps, KEYS)
    number, zero = queries.dtype.type, queries.dtype.type(0.0)
    unit = decay_scale(zero)
    turned_keys, turned_values = np.zeros(wide * long, queries.dtype), np.zeros(wide * long, queries.dtype)
    held = np.zeros(long * wide, queries.dtype)
    to_keys, to_values = np.empty(long * wide, queries.dtype), np.empty(long * wide, queries.dtype)
    block, given = np.zeros(ROWS * wide, queries.dtype), np.zeros(ROWS * wide, queries.dtype)
    to_queries = np.empty(ROWS * wide, queries.dtype)
    weights, slopes = np.empty(ROWS * KEYS, queries.dtype), np.empty(ROWS * KEYS, queries.dtype)
    shifts, levels = np.zeros(ROWS, queries.dtype), np.zeros(ROWS, queries.dtype)
    padding = new_padding(1, queries)
    for head in tasks(counters, heads):
        _turn(keys[head], long, turned_keys)
        _turn(values[head], long, turned_values)
        _pad(keys[head], 0, steps, wide, number(1.0), held)
        to_keys[:] = zero
        to_values[:] = zero
        for first in range(0, steps, ROWS):
            rows = min(ROWS, steps - first)
            _pad(queries[head], first, rows, wide, number(scale) * unit, block)
            _pad(by_out[head], first, rows, wide, number(1.0), given)
            shifts[rows:] = zero
            levels[rows:] = zero
            for r in range(rows):
                shifts[r] = logsums[head, first + r]
                levels[r] = zero
                for d in range(size):
                    levels[r] += by_out[head, first + r, d] * out[head, first + r, d]
            to_queries[:] = zero
            for begin in range(0, first + rows, KEYS):
                _score(block, turned_keys, begin, long, wide, weights, first, padding)
                right = (turned_values, begin, long)
                product((given, 0, wide, 1), right, RAW, right, (slopes, 0), ROWS, wide, KEYS, padding)
                _differentiate(weights, slopes, shifts, levels)
                _mask(weights, first, begin, 0.0)
                _mask(slopes, first, begin, 0.0)
                _add(weights, given, to_values, begin * wide, wide, padding)
                _add(slopes, block, to_keys, begin * wide, wide, padding)
                rest = (held, begin * wide, wide)
                product(
                    (slopes, 0, KEYS, 1), rest, BIASED, (to_queries, 0, wide), (to_queries, 0),
                    ROWS, KEYS, wide, padding,
                )  # fmt: skip
            _unpad(to_queries, rows, wide, number(scale), by_queries[head], first)
        _unpad(to_keys, steps, wide, number(1.0) / unit, by_keys[head], 0)
        _unpad(to_values, steps, wide, number(1.0), by_values[head], 0)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _rounded(count, unit):  # type: ignore[no-untyped-def]
    return (count + unit - 1) // unit * unit


@njit(**JIT)  # type: ignore[untyped-decorator]
def _turn(rows, long, turned):  # type: ignore[no-untyped-def]
    """(T, D) → (P, long), transposed."""
    steps, size = rows.shape
    for t in range(steps):
        for d in range(size):
            turned[d * long + t] = rows[t, d]


@njit(**JIT)  # type: ignore[untyped-decorator]
def _pad(given, first, rows, wide, factor, padded):  # type: ignore[no-untyped-def]
    """Rows of (T, D) from `first` on, times `factor` → (≥ rows, P); rows beyond them become zero."""
    size = given.shape[1]
    for r in range(rows):
        for d in range(size):
            padded[r * wide + d] = given[first + r, d] * factor
    padded[rows * wide :] = 0


@njit(**JIT)  # type: ignore[untyped-decorator]
def _unpad(padded, rows, wide, factor, out, first):  # type: ignore[no-untyped-def]
    """The way back of `_pad`."""
    size = out.shape[1]
    for r in range(rows):
        for d in range(size):
            out[first + r, d] = padded[r * wide + d] * factor


@njit(**JIT)  # type: ignore[untyped-decorator]
def _score(block, turned, begin, long, wide, scores, first, padding):  # type: ignore[no-untyped-def]
    """A block of S: the queries from `first` on, by the keys from `begin` on."""
    right = (turned, begin, long)
    product((block, 0, wide, 1), right, RAW, right, (scores, 0), ROWS, wide, KEYS, padding)
    _mask(scores, first, begin, _MASKED)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _mask(block, first, begin, value):  # type: ignore[no-untyped-def]
    """Where the keys of a block come after the queries."""
    if begin + KEYS > first + 1:
        for r in range(ROWS):
            for key in range(max(first + r + 1 - begin, 0), KEYS):
                block[r * KEYS + key] = block.dtype.type(value)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _weigh(scores, largest, sums, found, wide, lanes):  # type: ignore[no-untyped-def]
    """Scores → exponentials relative to each row's largest score so far; what was summed before follows a new one."""
    step = lane_count(scores)
    for r in range(ROWS):
        at = r * KEYS
        top = load(scores, at)
        for j in range(step, KEYS, step):
            top = top + ramp(load(scores, at + j) - top)
        store(lanes, 0, top)
        most = largest[r]
        for lane in range(step):
            most = max(most, lanes[lane])
        total = splat(scores.dtype.type(0.0))
        for j in range(0, KEYS, step):
            weight = decay(load(scores, at + j) - splat(most))
            store(scores, at + j, weight)
            total = total + weight
        if most > largest[r]:
            shrunk = decay(largest[r] - most)
            sums[r] *= shrunk
            for d in range(0, wide, step):
                store(found, r * wide + d, load(found, r * wide + d) * splat(shrunk))
            largest[r] = most
        sums[r] += lane_sum(total)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _differentiate(weights, slopes, shifts, levels):  # type: ignore[no-untyped-def]
    """Scores → P, and gradients of P → those of the scores, P ∘ (dP - Σ dO ∘ O)."""
    for r in range(ROWS):
        shift, level = splat(shifts[r]), splat(levels[r])
        for at in range(r * KEYS, (r + 1) * KEYS, lane_count(weights)):
            weight = decay(load(weights, at) - shift)
            store(weights, at, weight)
            store(slopes, at, weight * (load(slopes, at) - level))


@njit(**JIT)  # type: ignore[untyped-decorator]
def _add(block, rows, totals, at, wide, padding):  # type: ignore[no-untyped-def]
    """totals, from `at` on, += blockᵀ (KEYS, ROWS) · rows (ROWS, P)."""
    product((block, 0, 1, KEYS), (rows, 0, wide), BIASED, (totals, at, wide), (totals, at), KEYS, ROWS, wide, padding)
