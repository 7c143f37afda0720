"""The causal depthwise convolution with SiLU as a differentiable CPU operation (kernels: conv_kernels.py)."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from icrl_plugins.backbones.mamba import conv_kernels
from icrl_plugins.backbones.mamba.jit import rows, run_tasks

Tensor = torch.Tensor


def conv_silu_cpu(x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None = None) -> Tensor:
    """SiLU(causal depthwise convolution of x).

    Args:
        x: (B, T, E), float32 or float64 (other dtypes are computed in float32); may be a column range of wider rows.
        weight: (E, 1, W) as `torch.nn.Conv1d` stores it; bias: (E).
        before: (B, W - 1, E), the inputs before the first step; None for zeros. No gradient reaches it.

    Returns:
        (B, T, E) in the dtype of x.
    """
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    if before is None:
        before = x.new_zeros(x.shape[0], weight.shape[-1] - 1, x.shape[2])
    given = (x, weight, bias, before.detach())
    out: Tensor = _ConvSilu.apply(*(tensor.to(dtype) for tensor in given))
    return out.to(x.dtype)


class _ConvSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, before: Tensor) -> Tensor:
        taps = weight[:, 0].t().contiguous()  # (W, E)
        bias, before = bias.contiguous(), before.contiguous()
        out = x.new_empty(x.shape)
        tasks = x.shape[0] * -(-x.shape[1] // conv_kernels.ROWS)
        wide, column = rows(x)
        run_tasks(
            conv_kernels.forward, tasks, x.numel() * taps.shape[0],
            wide, column, before.numpy(), taps.numpy(), bias.numpy(), out.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(x, taps, bias, before)
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, taps, bias, before = ctx.saved_tensors
        tasks = x.shape[0] * -(-x.shape[1] // conv_kernels.ROWS)
        grad_x = x.new_empty(x.shape)
        grad_taps, grad_bias = x.new_empty(tasks, *taps.shape), x.new_empty(tasks, *bias.shape)
        wide, column = rows(x)
        run_tasks(
            conv_kernels.backward, tasks, 3 * x.numel() * taps.shape[0],
            wide, column, before.numpy(), taps.numpy(), bias.numpy(), grad_out.contiguous().numpy(),
            grad_x.numpy(), grad_taps.numpy(), grad_bias.numpy(),
        )  # fmt: skip
        return grad_x, grad_taps.sum(0).t()[:, None], grad_bias.sum(0), None
