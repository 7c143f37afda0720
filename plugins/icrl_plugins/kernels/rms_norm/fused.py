"""The fused RMS norm as a differentiable CPU operation (kernels: kernel.py).

PyTorch's is a chain of elementwise operations when it must be differentiated on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from icrl_plugins.kernels.rms_norm import kernel
from icrl_plugins.kernels.runtime.partial_sums import num_sums
from icrl_plugins.kernels.runtime.threads import run_tasks
from icrl_plugins.kernels.runtime.vectors import LANES

Tensor = torch.Tensor
_OPERATIONS = 8  # a row's element costs about as much as this many state updates of a scan


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernel can take x: whole vectors in float32 or float64."""
    return x.dtype == weight.dtype and x.dtype in (torch.float32, torch.float64) and x.shape[-1] % LANES == 0


def rms_norm_cpu(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """x / rms(x) · weight over the last axis, differentiable: (…, D), (D) → (…, D)."""
    out: Tensor = _RmsNorm.apply(x, weight, epsilon)
    return out


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()
        flat = x.view(-1, x.shape[-1])  # (M, D)
        out, scale = torch.empty_like(x), x.new_empty(len(flat))
        tasks = -(-len(flat) // kernel.ROWS)
        run_tasks(
            kernel.forward, tasks, _OPERATIONS * x.numel(),
            flat.numpy(), weight.numpy(), epsilon, out.view(flat.shape).numpy(), scale.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(x, weight, scale)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, scale = ctx.saved_tensors
        flat = x.view(-1, x.shape[-1])
        tasks = -(-len(flat) // kernel.ROWS)
        grad_x, grad_weight = torch.empty_like(x), torch.empty_like(weight)
        partials, totals = (x.new_zeros(tasks, x.shape[-1]).numpy(),), (grad_weight.numpy(),)
        run_tasks(
            kernel.backward, tasks + num_sums(totals), 2 * _OPERATIONS * x.numel(),
            flat.numpy(), weight.numpy(), scale.numpy(), grad_out.contiguous().view(flat.shape).numpy(),
            grad_x.view(flat.shape).numpy(), partials, totals,
        )  # fmt: skip
        return grad_x, grad_weight, None
