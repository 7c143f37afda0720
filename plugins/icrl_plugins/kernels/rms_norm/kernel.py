"""The RMS norm over rows, forward and backward in one pass each (Zhang & Sennrich, arXiv 1910.07467, equation 4).

    r = 1 / sqrt(mean(x²) + epsilon),   out = x r w,   dx = r w g - x r³ mean(w g x),   dw = sum over rows of g x r

A task is `ROWS` rows; M rows in all. D must be a whole number of vectors.
"""

from __future__ import annotations

import math

from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.partial_sums import add_up, num_sums
from icrl_plugins.kernels.runtime.tasks import tasks
from icrl_plugins.kernels.runtime.vectors import lane_count, lane_sum, load, splat, store

ROWS = 64  # rows of a task


@compiled
def forward(counters, x, weight, epsilon, out, scale) -> None:
    """x (M, D), weight (D) → out (M, D) and the rows' r as scale (M)."""
    count, size = x.shape
    lanes = lane_count(x)
    zero = x.dtype.type(0)
    for task in tasks(counters, (count + ROWS - 1) // ROWS):
        for row in range(task * ROWS, min((task + 1) * ROWS, count)):
            squares = splat(zero)
            for v in range(0, size, lanes):
                part = load(x, row * size + v)
                squares += part * part
            r = x.dtype.type(1 / math.sqrt(lane_sum(squares) / size + epsilon))
            scale[row] = r
            for v in range(0, size, lanes):
                store(out, row * size + v, load(x, row * size + v) * splat(r) * load(weight, v))


@compiled
def backward(counters, x, weight, scale, grad_out, grad_x, partials, totals) -> None:
    """grad_x (M, D); totals: the gradient of weight (D). partials: scratch of it, (⌈M / ROWS⌉, D), which begins at zero."""
    count, size = x.shape
    lanes = lane_count(x)
    zero = x.dtype.type(0)
    grad_weight = partials[0]
    parts = len(grad_weight)
    for task in tasks(counters, parts + num_sums(totals)):
        if task >= parts:
            add_up(counters, parts, task - parts, partials, totals)
            continue
        for row in range(task * ROWS, min((task + 1) * ROWS, count)):
            r = scale[row]
            products = splat(zero)
            for v in range(0, size, lanes):
                offset = row * size + v
                scaled = load(grad_out, offset) * load(x, offset)
                products += scaled * load(weight, v)
                store(grad_weight, task * size + v, load(grad_weight, task * size + v) + scaled * splat(r))
            pull = x.dtype.type(lane_sum(products) * r * r * r / size)
            for v in range(0, size, lanes):
                offset = row * size + v
                store(
                    grad_x, offset, splat(r) * load(weight, v) * load(grad_out, offset) - splat(pull) * load(x, offset)
                )
