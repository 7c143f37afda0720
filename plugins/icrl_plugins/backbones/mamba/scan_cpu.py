"""The fused CPU scan as a differentiable PyTorch operation (kernels and layout: scan_kernels.py)."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from icrl_plugins.backbones.mamba import scan_kernels
from icrl_plugins.backbones.mamba.jit import rows, run_tasks

Tensor = torch.Tensor
Grad = Tensor | None


def scan_cpu(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Arguments and results as `selective_scan` has them; float32 or float64, other dtypes are computed in float32."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    given = (x, dt, A, B, C, D, z, dt_bias, initial_state)
    out, last = _FusedScan.apply(*(None if tensor is None else tensor.to(dtype) for tensor in given))
    return out.to(x.dtype), last


class _FusedScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor | None) -> tuple[Tensor, Tensor]:
        x, dt, A, B, C, D = (tensor.contiguous() for tensor in given[:6])  # type: ignore[union-attr]
        z, dt_bias, initial = given[6:]
        batch, steps, channels = x.shape
        num_states = A.shape[1]
        bias = x.new_zeros(channels) if dt_bias is None else dt_bias.contiguous()
        start = x.new_zeros(batch, channels, num_states) if initial is None else initial.contiguous()
        blocks = -(-channels // scan_kernels.BLOCK)
        keep = any(ctx.needs_input_grad)
        chunks = -(-steps // scan_kernels.CHUNK) if keep else 0
        borders = x.new_empty(batch, blocks, chunks, num_states, scan_kernels.BLOCK)
        out, last = torch.empty_like(x), torch.empty_like(start)
        run_tasks(
            scan_kernels.forward, batch * blocks, x.numel() * num_states, *(t.numpy() for t in (x, dt, A, B, C, D)),
            *rows(x if z is None else z), bias.numpy(), True, z is not None, start.numpy(), keep, out.numpy(), last.numpy(), borders.numpy(),
        )  # fmt: skip
        if keep:
            ctx.save_for_backward(x, dt, A, B, C, D, z, bias, borders)
        return out, last

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_out: Tensor, grad_last: Tensor) -> tuple[Grad, ...]:
        x, dt, A, B, C, D, z, bias, borders = ctx.saved_tensors
        batch, steps, channels = x.shape
        num_states, blocks = A.shape[1], borders.shape[1]
        grad_x, grad_dt = torch.empty_like(x), torch.empty_like(x)
        grad_z = x.new_empty(x.shape if z is not None else (1, 1, 1))
        grad_A = x.new_empty(batch, channels, num_states)
        grad_B, grad_C = (x.new_empty(blocks, batch, steps, num_states) for _ in range(2))
        grad_D, grad_bias = (x.new_empty(batch, channels) for _ in range(2))
        grad_initial = torch.empty_like(grad_A)
        run_tasks(
            scan_kernels.backward, batch * blocks, 3 * x.numel() * num_states, *(t.numpy() for t in (x, dt, A, B, C, D)),
            *rows(x if z is None else z), bias.numpy(), True, z is not None, borders.numpy(),
            grad_out.contiguous().numpy(), grad_last.contiguous().numpy(),
            *(t.numpy() for t in (grad_x, grad_dt, grad_A, grad_B, grad_C, grad_D, grad_z, grad_bias, grad_initial)),
        )  # fmt: skip
        needs = ctx.needs_input_grad
        return (
            grad_x, grad_dt, grad_A.sum(0), grad_B.sum(0), grad_C.sum(0), grad_D.sum(0),
            grad_z if needs[6] else None, grad_bias.sum(0) if needs[7] else None, grad_initial if needs[8] else None,
        )  # fmt: skip
