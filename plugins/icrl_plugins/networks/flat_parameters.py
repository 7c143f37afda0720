"""All parameters of K stacked networks side by side in one tensor: one pass for Adam, one for the norms of the gradients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from numba import njit
from torch import nn

from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.vectors import JIT, lane_count, lane_sum, load, splat


class FlatParameters:
    """Moves the parameters (K, …) of `modules` into one tensor and makes them and their gradients views of it.

    The modules compute as before, and each of their parameters stays contiguous.

    Attributes:
        flat: (Σ K·n), with a gradient; what an optimiser that works element by element steps.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        parameters = [parameter for module in modules for parameter in module.parameters()]
        self.num_tasks = len(parameters[0])  # K
        self._sizes = np.array([parameter[0].numel() for parameter in parameters])  # numbers a task
        self.flat = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters]))
        self.flat.grad = torch.zeros_like(self.flat)
        ends = list(accumulate(parameter.numel() for parameter in parameters))
        for parameter, end in zip(parameters, ends, strict=True):
            place = slice(end - parameter.numel(), end)
            parameter.data = self.flat.data[place].view(parameter.shape)
            parameter.grad = self.flat.grad[place].view(parameter.shape)

    @torch.no_grad()
    def clip_gradient_of_each_task(self, max_norm: float) -> None:
        """Scales the gradient of every task to a norm of `max_norm` at most, in place.

        As `torch.nn.utils.clip_grad_norm_` does for one network.
        """
        assert self.flat.grad is not None
        _clip(self.flat.grad.numpy(), self._sizes, self.num_tasks, max_norm)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _square_sum(values, first, size):  # type: ignore[no-untyped-def]
    """Of `size` numbers from `first` on."""
    lanes = lane_count(values)
    whole = first + size // lanes * lanes
    sums = splat(values.dtype.type(0.0))
    for at in range(first, whole, lanes):
        part = load(values, at)
        sums = sums + part * part
    total = lane_sum(sums)
    for at in range(whole, first + size):
        total += values[at] * values[at]
    return total


@compiled
def _clip(gradients, sizes, num_tasks, max_norm):  # type: ignore[no-untyped-def]
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
