"""One door to the last state of a GRU: ours on the CPU, elsewhere the formula."""

from __future__ import annotations

import torch

from icrl_plugins.kernels.gru.reference import GRUWeights, last_state_reference

Tensor = torch.Tensor


def last_state(windows: Tensor, weights: GRUWeights, mask: Tensor | None = None) -> Tensor:
    """Windows (K, T, B, F), oldest step first → the last states (K, B, S), differentiable in the weights.

    Args:
        real: (K, T, B, 1), or with ones for any of them, by which the state is multiplied after each step; None for ones.
            Where it is given, nothing is differentiable.

    Raises:
        ValueError: the weights are for another number of networks or inputs.
    """
    if windows.device.type == "cpu" and windows.dtype in (torch.float32, torch.float64):
        from icrl_plugins.kernels.gru.fused import last_state_cpu

        return last_state_cpu(windows, weights, mask)
    with torch.set_grad_enabled(torch.is_grad_enabled() and mask is None):
        return last_state_reference(windows, weights, mask)
