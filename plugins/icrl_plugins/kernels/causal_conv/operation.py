"""One door to the causal depthwise convolution with SiLU: ours on the CPU, causal-conv1d's on CUDA, else PyTorch's."""

from __future__ import annotations

from importlib.util import find_spec

import torch

from icrl_plugins.kernels import Kernel
from icrl_plugins.kernels.causal_conv.reference import conv_silu_reference, padded_inputs

Tensor = torch.Tensor

#: The widths that the causal-conv1d package has kernels for.
_CUDA_WIDTHS = (2, 3, 4)


def causal_conv_silu(
    x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None = None, kernel: Kernel = "auto"
) -> Tensor:
    """out_t = SiLU(bias + sum_j weight[:, 0, j] x_{t - (W - 1) + j}), differentiable in every argument.

    Args:
        x: (B, T, E) inputs.
        weight: (E, 1, W) as `torch.nn.Conv1d` stores it; bias: (E).
        before: (B, W - 1, E), the inputs before the first step; None for zeros.
        kernel: `reference` forces PyTorch's convolution.

    Returns:
        (B, T, E).
    """
    if x.device.type == "cpu" and kernel == "auto":
        from icrl_plugins.kernels.causal_conv.fused import conv_silu_cpu

        return conv_silu_cpu(x, weight, bias, before)
    width = weight.shape[-1]
    if x.device.type == "cuda" and kernel == "auto" and width in _CUDA_WIDTHS and find_spec("causal_conv1d"):
        from causal_conv1d import causal_conv1d_fn

        padded = padded_inputs(x, weight, before).contiguous()
        out: Tensor = causal_conv1d_fn(padded, weight[:, 0], bias, activation="silu")[..., width - 1 :]
        return out.transpose(1, 2).contiguous()
    return conv_silu_reference(x, weight, bias, before)
