"""Causal depthwise convolution over time with SiLU, for sequences stored time-major: no transpose on the way in or out.

    c_t[e] = bias[e] + sum_j weight[j, e] x_{t - (W - 1) + j}[e],      out_t[e] = c_t[e] sigmoid(c_t[e])

A task is one sequence of the batch and `ROWS` steps, all channels; the innermost loop runs over channels. The W - 1 inputs
before the first step come from `before`. Letters as in scan_kernels.py; W is the width of the convolution.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from icrl_plugins.backbones.mamba.jit import compiled
from icrl_plugins.backbones.mamba.vectors import JIT, sigmoid

ROWS = 32  # steps of a task


@njit(**JIT)  # type: ignore[untyped-decorator]
def _convolve(x, column, before, weight, bias, t, channels, c):  # type: ignore[no-untyped-def]
    """c = the convolution at step t of one sequence x (T, ≥ column + E) with earlier inputs `before` (W - 1, E)."""
    width = weight.shape[0]
    for e in range(channels):
        c[e] = bias[e]
    for j in range(width):
        source = t - (width - 1) + j
        if source >= 0:
            for e in range(channels):
                c[e] += weight[j, e] * x[source, column + e]
        else:
            for e in range(channels):
                c[e] += weight[j, e] * before[source + width - 1, e]


@compiled
def forward(start, stride, x, column, before, weight, bias, out):  # type: ignore[no-untyped-def]
    """x (b, T, ≥ column + E), before (b, W - 1, E), weight (W, E), bias (E) → out (b, T, E)."""
    batch, steps, channels = out.shape
    chunks = (steps + ROWS - 1) // ROWS
    c = np.empty(channels, out.dtype)
    for task in range(start, batch * chunks, stride):
        b = task // chunks
        begin = (task % chunks) * ROWS
        for t in range(begin, min(begin + ROWS, steps)):
            _convolve(x[b], column, before[b], weight, bias, t, channels, c)
            for e in range(channels):
                out[b, t, e] = c[e] * sigmoid(c[e])


@compiled
def backward(start, stride, x, column, before, weight, bias, grad_out, grad_x, grad_weight, grad_bias):  # type: ignore[no-untyped-def]
    """grad_x (b, T, E); grad_weight (tasks, W, E) and grad_bias (tasks, E) are partial sums, one per task."""
    batch, steps, channels = grad_out.shape
    width = weight.shape[0]
    chunks = (steps + ROWS - 1) // ROWS
    one = grad_out.dtype.type(1)
    gc = np.empty((ROWS + width - 1, channels), grad_out.dtype)  # dLoss/dc, also of the W - 1 steps after the task's
    for task in range(start, batch * chunks, stride):
        b = task // chunks
        begin = (task % chunks) * ROWS
        end = min(begin + ROWS, steps)
        beyond = min(end + width - 1, steps)
        grad_weight[task] = 0
        grad_bias[task] = 0
        for t in range(begin, beyond):
            row = gc[t - begin]
            _convolve(x[b], column, before[b], weight, bias, t, channels, row)
            for e in range(channels):
                s = sigmoid(row[e])
                row[e] = grad_out[b, t, e] * s * (one + row[e] * (one - s))
        for t in range(begin, end):
            row = gc[t - begin]
            for e in range(channels):
                grad_bias[task, e] += row[e]
                grad_x[b, t, e] = 0
            for j in range(width):
                source = t - (width - 1) + j
                if source >= 0:
                    for e in range(channels):
                        grad_weight[task, j, e] += row[e] * x[b, source, column + e]
                else:
                    for e in range(channels):
                        grad_weight[task, j, e] += row[e] * before[b, source + width - 1, e]
                later = t + (width - 1) - j
                if later < beyond:
                    for e in range(channels):
                        grad_x[b, t, e] += weight[j, e] * gc[later - begin, e]
