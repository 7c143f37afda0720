"""One door to the RMS norm: ours where a gradient is wanted on the CPU, else PyTorch's."""

from __future__ import annotations

import torch

from icrl_plugins.kernels import Kernel
from icrl_plugins.kernels.rms_norm.reference import rms_norm_reference


def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float, kernel: Kernel = "auto") -> torch.Tensor:
    """x / rms(x) · weight over the last axis, (…, D), (D) → (…, D), differentiable in both.

    Args:
        kernel: `reference` forces PyTorch's.
    """
    if kernel == "auto" and x.device.type == "cpu" and torch.is_grad_enabled():
        from icrl_plugins.kernels.rms_norm.fused import fits, rms_norm_cpu

        if fits(x, weight):
            return rms_norm_cpu(x, weight, epsilon)
    return rms_norm_reference(x, weight, epsilon)
