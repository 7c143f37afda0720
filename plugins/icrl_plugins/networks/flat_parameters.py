"""All parameters of K stacked networks in one tensor, (K, P): one kernel for Adam, one norm for each task's gradient."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import nn

from icrl_plugins.networks.alignment import round_up


def flatten_parameters(modules: Sequence[nn.Module]) -> nn.Parameter:
    """Moves the parameters (K, …) of `modules` into one tensor, (K, P), and makes them and their gradients views of it.

    The modules compute as before. An optimiser gets the one tensor alone, whose gradient is what was written into theirs.
    Each begins at a multiple of 64 bytes; the numbers in between, and their gradients, stay 0.
    """
    parameters = [parameter for module in modules for parameter in module.parameters()]
    sizes = [parameter[0].numel() for parameter in parameters]
    padded = [round_up(size) for size in sizes]
    flat = nn.Parameter(torch.zeros(len(parameters[0]), sum(padded), dtype=parameters[0].dtype))  # (K, P)
    flat.grad = torch.zeros_like(flat)
    for parameter, size, room, end in zip(parameters, sizes, padded, accumulate(padded), strict=True):
        columns = slice(end - room, end - room + size)
        flat.data[:, columns] = parameter.detach().flatten(1)
        parameter.data = flat.data[:, columns].view(parameter.shape)
        parameter.grad = flat.grad[:, columns].view(parameter.shape)
    return flat


@torch.no_grad()
def clip_gradient_of_each_task(flat: nn.Parameter, max_norm: float) -> None:
    """Scales the gradient of every task, a row of `flat` (K, P), to a norm of `max_norm` at most, in place.

    As `torch.nn.utils.clip_grad_norm_` does for one network.
    """
    assert flat.grad is not None
    norms = torch.linalg.vector_norm(flat.grad, dim=1, keepdim=True)  # (K, 1)
    flat.grad.mul_((max_norm / (norms + 1e-6)).clamp_(max=1.0))
