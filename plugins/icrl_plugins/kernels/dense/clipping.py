"""The norm of each network's gradient, cut to a limit; as `torch.nn.utils.clip_grad_norm_` does for one network."""

from __future__ import annotations

import numpy as np
from numba import njit

from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.vectors import JIT, lane_count, lane_sum, load, splat


@njit(**JIT)
def _square_sum(values, first, size):
    """Of `size` numbers from `first` on."""
    lanes = lane_count(values)
    whole = first + size // lanes * lanes
    sums = splat(values.dtype.type(0.0))
    for offset in range(first, whole, lanes):
        part = load(values, offset)
        sums = sums + part * part
    total = lane_sum(sums)
    for offset in range(whole, first + size):
        total += values[offset] * values[offset]
    return total


@compiled
def clip(gradients, sizes, num_tasks, max_norm) -> None:
    """gradients flat: of every parameter, of every task, `sizes` numbers."""
    number = gradients.dtype.type
    for task in range(num_tasks):
        squares, begin = number(0.0), 0
        for size in sizes:
            squares += _square_sum(gradients, begin + task * size, size)
            begin += num_tasks * size
        factor = number(max_norm) / (np.sqrt(squares) + number(1e-6))
        if factor < number(1.0):
            begin = 0
            for size in sizes:
                part = gradients[begin + task * size : begin + (task + 1) * size]
                for i in range(size):
                    part[i] *= factor
                begin += num_tasks * size
