"""All parameters of K stacked networks side by side in one tensor: one pass for Adam, one for the norms of the gradients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import nn

from icrl_plugins.kernels.dense.clipping import clip


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
            span = slice(end - parameter.numel(), end)
            parameter.data = self.flat.data[span].view(parameter.shape)
            parameter.grad = self.flat.grad[span].view(parameter.shape)

    @torch.no_grad()
    def clip_gradient_of_each_task(self, max_norm: float) -> None:
        """Scales the gradient of every task to a norm of `max_norm` at most, in place.

        As `torch.nn.utils.clip_grad_norm_` does for one network.
        """
        assert self.flat.grad is not None
        clip(self.flat.grad.numpy(), self._sizes, self.num_tasks, max_norm)
