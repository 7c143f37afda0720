"""The causal depthwise convolution with SiLU as a differentiable CPU operation (kernels: kernel.py)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from icrl_plugins.kernels.causal_conv import kernel
from icrl_plugins.kernels.runtime import derivatives
from icrl_plugins.kernels.runtime.buffers import empty
from icrl_plugins.kernels.runtime.column_ranges import rows
from icrl_plugins.kernels.runtime.partial_sums import num_sums
from icrl_plugins.kernels.runtime.threads import run_tasks
from icrl_plugins.kernels.runtime.vectors import LANES

Tensor = torch.Tensor


def conv_silu_cpu(x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None = None) -> Tensor:
    """SiLU(causal depthwise convolution of x), differentiable in every argument.

    Args:
        x: (B, T, E), float32 or float64 (other dtypes are computed in float32); may be a column range of wider rows.
        weight: (E, 1, W) as `torch.nn.Conv1d` stores it; bias: (E).
        before: (B, W - 1, E), the inputs before the first step; None for zeros.

    Returns:
        (B, T, E) in the dtype of x.
    """
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    if before is None:
        before = x.new_zeros(x.shape[0], weight.shape[-1] - 1, x.shape[2])
    inputs = [tensor.to(dtype) for tensor in (x, weight, bias, before)]
    if derivatives.wanted(inputs):
        out: Tensor = _ConvSilu.apply(*inputs)
    else:
        out, *_ = _run(*inputs)
    return out.to(x.dtype)


def _run(x: Tensor, weight: Tensor, bias: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(B, T, E) outputs, then taps (W, P), bias (P) and the inputs before, as the kernels take them."""
    padding = -x.shape[2] % LANES
    taps, bias, before = weight.detach()[:, 0].t(), bias.detach(), before.detach().contiguous()  # taps (W, E)
    taps, bias = (F.pad(each, (0, padding)) if padding else each for each in (taps, bias))
    taps, bias = taps.contiguous(), bias.contiguous()
    out = empty(taps.numpy().dtype, *x.shape)
    tasks = x.shape[0] * -(-x.shape[1] // kernel.ROWS)
    run_tasks(
        kernel.forward, tasks, 4 * x.numel(),
        kernel.InputArrays(*rows(x), before.numpy()), kernel.FilterArrays(taps.numpy(), bias.numpy()), out,
    )  # fmt: skip
    return torch.from_numpy(out), taps, bias, before


class _ConvSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, before: Tensor) -> Tensor:
        out, *others = _run(x, weight, bias, before)
        ctx.save_for_backward(x, *others)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, ...]:
        x, taps, bias, before = ctx.saved_tensors
        tasks = x.shape[0] * -(-x.shape[1] // kernel.ROWS)
        filters = kernel.FilterArrays(taps.numpy(), bias.numpy())
        grad_x, grad_before, grad_taps, grad_bias = (
            empty(filters.bias.dtype, *tensor.shape) for tensor in (x, before, taps, bias)
        )
        totals = grad_taps.reshape(-1), grad_bias
        partials = tuple(empty(total.dtype, tasks, total.size) for total in totals)
        run_tasks(
            kernel.backward, tasks + num_sums(totals), 8 * x.numel(),
            kernel.InputArrays(*rows(x), before.numpy()), filters, grad_out.contiguous().numpy(),
            kernel.InputGradients(grad_x, grad_before), kernel.FilterGradients(partials, totals),
        )  # fmt: skip
        channels = x.shape[2]
        gradients = grad_x, grad_taps[:, :channels].T[:, None], grad_bias[:channels], grad_before  # weight: (E, 1, W)
        return tuple(map(torch.from_numpy, gradients))
