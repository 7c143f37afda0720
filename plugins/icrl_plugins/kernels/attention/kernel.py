"""Causal attention and its gradient, block by block (Dao et al., 2022, algorithms 1 and 4), for narrow heads.

    S = Q Kᵀ / √D      P = softmax of S over the keys up to the query      O = P V

A block of `ROWS` queries by `KEYS` keys of S and P fits the first-level cache and is never written out; what is kept is
a number a query, the logarithm of the sum of its exponentials, from which the backward pass computes P again. A task is one
head, so no two threads add to the same gradient.

Letters: H heads of all sequences, T positions, D numbers a head. Within a task numbers are padded to whole vectors (P), and
positions to whole blocks, with zeros. Exponents carry the factor of `decay_scale`, so that `decay` takes them as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from icrl_plugins.kernels.dense.product import BIASED, RAW, new_padding, product
from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.scratch import scratch, zeros
from icrl_plugins.kernels.runtime.tasks import tasks
from icrl_plugins.kernels.runtime.vectors import (
    JIT,
    decay,
    decay_scale,
    lane_count,
    lane_sum,
    load,
    maximum,
    splat,
    store,
)
from icrl_registry.contracts import Array

#: Multiples of the tallest tile (8): sums grow in place, and a tile that took a row twice would add to it twice.
ROWS, KEYS = 32, 128
#: A score below all others; infinity less itself would be no number. `decay` is never quite 0: weights are masked again.
_MASKED = -1e30


class HeadArrays(NamedTuple):
    """queries, keys and values, or their gradients, (H, T, D) each."""

    queries: Array
    keys: Array
    values: Array


class Attended(NamedTuple):
    """out (H, T, D), and the logarithms (H, T) of the softmax's sums.

    Those are in the unit of `decay`: to the base 2 in float32, natural ones in float64.
    """

    out: Array
    logsums: Array


@compiled
def forward(counters, inputs, scale, attended) -> None:
    """Fills `attended` from `inputs`."""
    (queries, keys, values), (out, logsums) = inputs, attended
    heads, steps, size = queries.shape
    padded_size, padded_steps = _rounded(size, lane_count(queries)), _rounded(steps, KEYS)
    number, zero = queries.dtype.type, queries.dtype.type(0.0)
    unit = decay_scale(zero)
    keys_transposed = zeros((padded_size * padded_steps,), queries)
    padded_rows = zeros((padded_steps * padded_size,), queries)
    query_block, weighted = zeros((ROWS * padded_size,), queries), scratch((ROWS * padded_size,), queries)
    scores, row_maxima, sums = scratch((ROWS * KEYS,), queries), scratch((ROWS,), queries), scratch((ROWS,), queries)
    padding, lanes = new_padding(1, queries), scratch((lane_count(queries),), queries)
    for head in tasks(counters, heads):
        _transpose(keys[head], padded_steps, keys_transposed)
        _pad(values[head], 0, steps, padded_size, number(1.0), padded_rows)
        for first_row in range(0, steps, ROWS):
            rows = min(ROWS, steps - first_row)
            _pad(queries[head], first_row, rows, padded_size, number(scale) * unit, query_block)
            weighted[:] = zero
            row_maxima[:] = number(_MASKED)
            sums[:] = zero
            for first_key in range(0, first_row + rows, KEYS):
                width = _block_width(first_row, first_key)
                left, right = (query_block, 0, padded_size, 1), (keys_transposed, first_key, padded_steps)
                _score(left, right, scores, first_row, first_key, padding)
                _weigh(scores, width, row_maxima, sums, weighted, padded_size, lanes)
                _mask(scores, first_row, first_key, 0.0)
                right = (padded_rows, first_key * padded_size, padded_size)
                _add_over_keys(scores, width, right, weighted, padding)
            for r in range(rows):
                share = number(1.0) / sums[r]
                logsums[head, first_row + r] = row_maxima[r] + np.log(sums[r]) * unit
                for d in range(size):
                    out[head, first_row + r, d] = weighted[r * padded_size + d] * share


@compiled
def backward(counters, inputs, scale, attended, grad_out, gradients) -> None:
    """From the gradient of the outputs (H, T, D) to those of queries, keys and values."""
    (queries, keys, values), (out, logsums) = inputs, attended
    grad_queries, grad_keys, grad_values = gradients
    heads, steps, size = queries.shape
    padded_size, padded_steps = _rounded(size, lane_count(queries)), _rounded(steps, KEYS)
    number, zero = queries.dtype.type, queries.dtype.type(0.0)
    unit = decay_scale(zero)
    keys_transposed = zeros((padded_size * padded_steps,), queries)
    values_transposed = zeros((padded_size * padded_steps,), queries)
    padded_rows = zeros((padded_steps * padded_size,), queries)
    padded_grad_keys = scratch((padded_steps * padded_size,), queries)
    padded_grad_values = scratch((padded_steps * padded_size,), queries)
    query_block, grad_block = zeros((ROWS * padded_size,), queries), zeros((ROWS * padded_size,), queries)
    padded_grad_queries = scratch((ROWS * padded_size,), queries)
    weights, score_gradients = scratch((ROWS * KEYS,), queries), scratch((ROWS * KEYS,), queries)
    row_logsums, deltas = zeros((ROWS,), queries), zeros((ROWS,), queries)
    padding = new_padding(1, queries)
    for head in tasks(counters, heads):
        _transpose(keys[head], padded_steps, keys_transposed)
        _transpose(values[head], padded_steps, values_transposed)
        _pad(keys[head], 0, steps, padded_size, number(1.0), padded_rows)
        padded_grad_keys[:] = zero
        padded_grad_values[:] = zero
        for first_row in range(0, steps, ROWS):
            rows = min(ROWS, steps - first_row)
            _pad(queries[head], first_row, rows, padded_size, number(scale) * unit, query_block)
            _pad(grad_out[head], first_row, rows, padded_size, number(1.0), grad_block)
            row_logsums[rows:] = zero
            deltas[rows:] = zero
            for r in range(rows):
                row_logsums[r] = logsums[head, first_row + r]
                deltas[r] = zero
                for d in range(size):
                    deltas[r] += grad_out[head, first_row + r, d] * out[head, first_row + r, d]
            padded_grad_queries[:] = zero
            for first_key in range(0, first_row + rows, KEYS):
                width = _block_width(first_row, first_key)
                left, right = (query_block, 0, padded_size, 1), (keys_transposed, first_key, padded_steps)
                _score(left, right, weights, first_row, first_key, padding)
                left, right = (grad_block, 0, padded_size, 1), (values_transposed, first_key, padded_steps)
                product(left, right, RAW, right, (score_gradients, 0), (ROWS, padded_size, KEYS), padding)
                _differentiate(weights, score_gradients, row_logsums, deltas)
                _mask(weights, first_row, first_key, 0.0)
                _mask(score_gradients, first_row, first_key, 0.0)
                _add(weights, width, grad_block, padded_grad_values, first_key * padded_size, padded_size, padding)
                _add(
                    score_gradients, width, query_block, padded_grad_keys, first_key * padded_size, padded_size, padding
                )
                right = (padded_rows, first_key * padded_size, padded_size)
                _add_over_keys(score_gradients, width, right, padded_grad_queries, padding)
            _unpad(padded_grad_queries, rows, padded_size, number(scale), grad_queries[head], first_row)
        _unpad(padded_grad_keys, steps, padded_size, number(1.0) / unit, grad_keys[head], 0)
        _unpad(padded_grad_values, steps, padded_size, number(1.0), grad_values[head], 0)


@njit(**JIT)
def _rounded(count, unit):
    return (count + unit - 1) // unit * unit


@njit(**JIT)
def _block_width(first_row, first_key):
    """How many keys from `first_key` on the `ROWS` queries from `first_row` on can see, at most `KEYS`."""
    return min(KEYS, first_row + ROWS - first_key)


@njit(**JIT)
def _transpose(rows, padded_steps, transposed):
    """(T, D) → (P, padded_steps), transposed."""
    steps, size = rows.shape
    for t in range(steps):
        for d in range(size):
            transposed[d * padded_steps + t] = rows[t, d]


@njit(**JIT)
def _pad(source, first_row, rows, padded_size, factor, padded):
    """Rows of (T, D) from `first_row` on, times `factor` → (≥ rows, P); rows beyond them become zero."""
    size = source.shape[1]
    for r in range(rows):
        for d in range(size):
            padded[r * padded_size + d] = source[first_row + r, d] * factor
    padded[rows * padded_size :] = 0


@njit(**JIT)
def _unpad(padded, rows, padded_size, factor, out, first_row):
    """The inverse of `_pad`."""
    size = out.shape[1]
    for r in range(rows):
        for d in range(size):
            out[first_row + r, d] = padded[r * padded_size + d] * factor


@njit(**JIT)
def _score(left, right, score_block, first_row, first_key, padding):
    """A block of S: the queries from `first_row` on, by the keys from `first_key` on."""
    product(left, right, RAW, right, (score_block, 0), (ROWS, left[2], KEYS), padding)
    _mask(score_block, first_row, first_key, _MASKED)


@njit(**JIT)
def _mask(score_block, first_row, first_key, value):
    """Where the keys of a block come after the queries."""
    width = _block_width(first_row, first_key)
    if first_key + width > first_row + 1:
        for r in range(ROWS):
            for key in range(max(first_row + r + 1 - first_key, 0), width):
                score_block[r * KEYS + key] = score_block.dtype.type(value)


@njit(**JIT)
def _weigh(scores, width, row_maxima, sums, weighted, padded_size, lanes):
    """Scores → exponentials relative to each row's largest score so far; what was summed before follows a new one."""
    step = lane_count(scores)
    for r in range(ROWS):
        offset = r * KEYS
        lane_maxima = load(scores, offset)
        for j in range(step, width, step):
            lane_maxima = maximum(lane_maxima, load(scores, offset + j))
        store(lanes, 0, lane_maxima)
        maximum_so_far = row_maxima[r]
        for lane in range(step):
            maximum_so_far = max(maximum_so_far, lanes[lane])
        total = splat(scores.dtype.type(0.0))
        for j in range(0, width, step):
            weight = decay(load(scores, offset + j) - splat(maximum_so_far))
            store(scores, offset + j, weight)
            total = total + weight
        if maximum_so_far > row_maxima[r]:
            rescale = decay(row_maxima[r] - maximum_so_far)
            sums[r] *= rescale
            for d in range(0, padded_size, step):
                store(weighted, r * padded_size + d, load(weighted, r * padded_size + d) * splat(rescale))
            row_maxima[r] = maximum_so_far
        sums[r] += lane_sum(total)


@njit(**JIT)
def _differentiate(weights, score_gradients, row_logsums, deltas):
    """Scores → P, and gradients of P → those of the scores, P ∘ (dP - Σ dO ∘ O).

    Whole rows, though nobody reads past the keys that a query can see: a length known to the compiler takes less time.
    """
    for r in range(ROWS):
        row_logsum, delta = splat(row_logsums[r]), splat(deltas[r])
        for offset in range(r * KEYS, (r + 1) * KEYS, lane_count(weights)):
            weight = decay(load(weights, offset) - row_logsum)
            store(weights, offset, weight)
            store(score_gradients, offset, weight * (load(score_gradients, offset) - delta))


@njit(**JIT)
def _add(block, width, rows, totals, offset, padded_size, padding):
    """totals, from `offset` on, += blockᵀ (width, ROWS) · rows (ROWS, P)."""
    right, operand = (rows, 0, padded_size), (totals, offset, padded_size)
    if width == KEYS:  # rows known to the compiler: without, 3,200 tokens train 1.2 times as long
        product((block, 0, 1, KEYS), right, BIASED, operand, (totals, offset), (KEYS, ROWS, padded_size), padding)
    else:
        product((block, 0, 1, KEYS), right, BIASED, operand, (totals, offset), (width, ROWS, padded_size), padding)


@njit(**JIT)
def _add_over_keys(block, width, keys, totals, padding):
    """totals (ROWS, P) += block (ROWS, width) · keys (width, P); keys as `product` has its right operand."""
    left, operand = (block, 0, KEYS, 1), (totals, 0, keys[2])
    if width == KEYS:  # as above
        product(left, keys, BIASED, operand, (totals, 0), (ROWS, KEYS, keys[2]), padding)
    else:
        product(left, keys, BIASED, operand, (totals, 0), (ROWS, width, keys[2]), padding)
