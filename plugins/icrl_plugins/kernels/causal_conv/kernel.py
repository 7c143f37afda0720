"""Causal depthwise convolution over time with SiLU, for sequences stored time-major: no transpose on the way in or out.

    c_t[e] = bias[e] + sum_j weight[j, e] x_{t - (W - 1) + j}[e],      out_t[e] = c_t[e] sigmoid(c_t[e])

A task is one sequence of the batch and `ROWS` steps, all channels. Its inputs are first copied to rows that are padded to
whole vectors and begin W - 1 steps early (those before the first step come from `before`). Letters as in the scan's;
W is the width of the convolution, P is E rounded up to whole vectors.
"""

from __future__ import annotations

from typing import NamedTuple

from numba import njit

from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.partial_sums import add_up, num_sums
from icrl_plugins.kernels.runtime.scratch import scratch, zeros
from icrl_plugins.kernels.runtime.tasks import tasks
from icrl_plugins.kernels.runtime.vectors import JIT, lane_count, load, sigmoid, splat, store
from icrl_registry.contracts import Array

ROWS = 32  # steps of a task


class InputArrays(NamedTuple):
    """x (b, T, ≥ column + E), which may be a column range of wider rows, and the W - 1 inputs before it, (b, W - 1, E)."""

    x: Array
    column: int
    before: Array


class FilterArrays(NamedTuple):
    """taps (W, P) and bias (P), padded with zeros."""

    taps: Array
    bias: Array


class InputGradients(NamedTuple):
    """Those of x (b, T, E) and of the inputs before it (b, W - 1, E)."""

    x: Array
    before: Array


class FilterGradients(NamedTuple):
    """Of taps (W P) and bias (P): the totals, and scratch with a row of the same for each of the b ⌈T / ROWS⌉ tasks."""

    partials: tuple[Array, ...]
    totals: tuple[Array, ...]


@njit(**JIT)
def _load_rows(inputs, b, begin, end, rows):
    """rows[i] = the input at step begin - (W - 1) + i, for steps up to `end`."""
    x, column, before = inputs
    num_before, channels = before.shape[1], before.shape[2]
    for t in range(begin - num_before, end):
        row = rows[t - begin + num_before]
        source = before[b, t + num_before] if t < 0 else x[b, t, column : column + channels]
        for e in range(channels):
            row[e] = source[e]


@njit(**JIT)
def _convolve(rows, taps, bias, count, gated, c):
    """c[i] = bias + sum_j taps[j] rows[i + j] for i < count, times its sigmoid if `gated`; all rows have P columns."""
    padded = rows.shape[1]
    for v in range(0, padded, lane_count(rows)):
        for i in range(count):
            total = load(bias, v)
            for j in range(taps.shape[0]):
                total += load(taps, j * padded + v) * load(rows, (i + j) * padded + v)
            store(c, i * padded + v, total * sigmoid(total) if gated else total)


@compiled
def forward(counters, inputs, filters, out) -> None:
    """Fills out (b, T, E)."""
    taps, bias = filters
    batch, steps, channels = out.shape
    width, padded = taps.shape
    chunks = (steps + ROWS - 1) // ROWS
    rows = zeros((ROWS + width - 1, padded), out)
    c = scratch((ROWS, padded), out)
    for task in tasks(counters, batch * chunks):
        b = task // chunks
        begin = (task % chunks) * ROWS
        end = min(begin + ROWS, steps)
        _load_rows(inputs, b, begin, end, rows)
        _convolve(rows, taps, bias, end - begin, True, c)
        for t in range(begin, end):
            target, row = out[b, t], c[t - begin]
            for e in range(channels):
                target[e] = row[e]


@njit(**JIT)
def _derivatives(grad_out, b, begin, end, grad_c):
    """gc[i], which holds c at step begin + i, becomes dLoss/dc there."""
    one = splat(grad_c.dtype.type(1))
    padded = grad_c.shape[1]
    row = zeros((padded,), grad_c)
    for t in range(begin, end):
        source = grad_out[b, t]
        for e in range(source.size):
            row[e] = source[e]
        for v in range(0, padded, lane_count(grad_c)):
            offset = (t - begin) * padded + v
            c = load(grad_c, offset)
            s = sigmoid(c)
            store(grad_c, offset, load(row, v) * s * (one + c * (one - s)))


@njit(**JIT)
def _parameter_gradients(rows, grad_c, count, grad_taps, grad_bias):
    """Sums over the first `count` steps: grad_taps[j] = sum_i gc[i] rows[i + j], grad_bias = sum_i gc[i]."""
    padded = rows.shape[1]
    for v in range(0, padded, lane_count(rows)):
        bias = splat(rows.dtype.type(0))
        for i in range(count):
            bias += load(grad_c, i * padded + v)
        store(grad_bias, v, bias)
        for j in range(grad_taps.shape[0]):
            tap = splat(rows.dtype.type(0))
            for i in range(count):
                tap += load(grad_c, i * padded + v) * load(rows, (i + j) * padded + v)
            store(grad_taps, j * padded + v, tap)


@njit(**JIT)
def _input_gradient(grad_c, taps, step, available, grad_row):
    """gx (P) = sum_j taps[j] gc[step + (W - 1) - j] over the rows 0 … available - 1 that gc has."""
    width, padded = taps.shape
    for v in range(0, padded, lane_count(grad_c)):
        total = splat(grad_row.dtype.type(0))
        for j in range(width):
            row = step + width - 1 - j
            if 0 <= row < available:
                total += load(taps, j * padded + v) * load(grad_c, row * padded + v)
        store(grad_row, v, total)


@compiled
def backward(counters, inputs, filters, grad_out, grad_inputs, grad_filters) -> None:
    """From grad_out (b, T, E) to the gradients of inputs and filters."""
    (taps, bias), (grad_x, grad_before), (partials, totals) = filters, grad_inputs, grad_filters
    batch, steps, channels = grad_out.shape
    width, padded = taps.shape
    chunks = (steps + ROWS - 1) // ROWS
    rows = zeros((ROWS + 2 * (width - 1), padded), grad_out)
    grad_c = zeros((ROWS + width - 1, padded), grad_out)
    grad_row = scratch((padded,), grad_out)
    grad_taps = partials[0].reshape((batch * chunks, width, padded))
    for task in tasks(counters, batch * chunks + num_sums(totals)):
        if task >= batch * chunks:
            add_up(counters, batch * chunks, task - batch * chunks, partials, totals)
            continue
        b = task // chunks
        begin = (task % chunks) * ROWS
        end = min(begin + ROWS, steps)
        beyond = min(end + width - 1, steps)  # the last inputs of this task also reach these outputs
        _load_rows(inputs, b, begin, beyond, rows)
        _convolve(rows, taps, bias, beyond - begin, False, grad_c)
        _derivatives(grad_out, b, begin, beyond, grad_c)
        _parameter_gradients(rows, grad_c, end - begin, grad_taps[task], partials[1][task])
        for t in range(begin if begin > 0 else 1 - width, end):
            _input_gradient(grad_c, taps, t - begin, beyond - begin, grad_row)
            target = grad_before[b, t + width - 1] if t < 0 else grad_x[b, t]
            for e in range(channels):
                target[e] = grad_row[e]
