"""The causal depthwise convolution with SiLU in plain PyTorch: the yardstick for the fused kernels.

out_t = SiLU(bias + sum_j weight[:, 0, j] x_{t - (W - 1) + j})
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

Tensor = torch.Tensor


def padded_inputs(x: Tensor, weight: Tensor, before: Tensor | None) -> Tensor:
    """x (B, T, E) behind the W - 1 inputs before it, or zeros, time last: (B, E, W - 1 + T)."""
    channels, _, width = weight.shape
    if before is None:
        before = x.new_zeros(x.shape[0], width - 1, channels)
    return torch.cat([before.to(x.dtype), x], dim=1).transpose(1, 2)


def conv_silu_reference(x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None = None) -> Tensor:
    """Arguments and result as `causal_conv_silu` has them."""
    convolved = F.conv1d(padded_inputs(x, weight, before), weight, bias, groups=weight.shape[0])  # (B, E, T)
    return F.silu(convolved).transpose(1, 2).contiguous()
