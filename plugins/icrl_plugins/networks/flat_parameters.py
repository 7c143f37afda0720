"""All parameters of K stacked networks in one tensor, (K, P): one kernel for Adam, one norm for each task's gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def flatten_parameters(modules: Sequence[nn.Module]) -> nn.Parameter:
    """Moves the parameters (K, …) of `modules` into one tensor, (K, P), and makes them and their gradients views of it.

    The modules compute as before. An optimiser gets the one tensor alone, whose gradient is what was written into theirs.
    """
    parameters = [parameter for module in modules for parameter in module.parameters()]
    flat = nn.Parameter(torch.cat([parameter.detach().flatten(1) for parameter in parameters], dim=1))  # (K, P)
    flat.grad = torch.zeros_like(flat)
    first = 0
    for parameter in parameters:
        columns = slice(first, first + parameter[0].numel())
        parameter.data = flat.data[:, columns].view(parameter.shape)
        parameter.grad = flat.grad[:, columns].view(parameter.shape)
        first = columns.stop
    return flat


@torch.no_grad()
def clip_gradient_of_each_task(flat: nn.Parameter, max_norm: float) -> None:
    """Scales the gradient of every task, a row of `flat` (K, P), to a norm of `max_norm` at most, in place.

    As `torch.nn.utils.clip_grad_norm_` does for one network.
    """
    assert flat.grad is not None
    norms = torch.linalg.vector_norm(flat.grad, dim=1, keepdim=True)  # (K, 1)
    flat.grad.mul_((max_norm / (norms + 1e-6)).clamp_(max=1.0))
