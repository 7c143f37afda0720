"""The fused CPU scan as a differentiable PyTorch operation (kernels and layout: scan_kernels.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from icrl_plugins.backbones.mamba import scan_backward_kernels, scan_kernels
from icrl_plugins.backbones.mamba.partial_sums import sum_partials
from icrl_plugins.kernels.jit import rows, run_tasks

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
    keep = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in given)
    out, last = _FusedScan.apply(keep, *(None if tensor is None else tensor.to(dtype) for tensor in given))
    return out.to(x.dtype), last


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]


def _empty(dtype: torch.dtype, *shape: int) -> Tensor:
    """Uninitialised memory. NumPy asks the system for huge pages, without which a long context's time goes to page faults:
    half as much again from 20,000 tokens on.
    """
    return torch.from_numpy(np.empty(shape, np.float64 if dtype == torch.float64 else np.float32))


class _FusedScan(torch.autograd.Function):
    """`keep` says whether a backward will come: only then are the states at chunk borders kept."""

    @staticmethod
    def forward(ctx: Any, keep: bool, *given: Tensor | None) -> tuple[Tensor, Tensor]:
        x, dt, A, B, C, D = (tensor.contiguous() for tensor in given[:6])  # type: ignore[union-attr]
        z, dt_bias, initial = given[6:]
        batch, steps, channels = x.shape
        num_states = A.shape[1]
        bias = x.new_zeros(channels) if dt_bias is None else dt_bias.contiguous()
        start = x.new_zeros(batch, channels, num_states) if initial is None else initial.contiguous()
        blocks = -(-channels // scan_kernels.BLOCK)
        chunks = -(-steps // scan_kernels.CHUNK) if keep else 0
        borders = _empty(x.dtype, batch, blocks, chunks, num_states, scan_kernels.BLOCK)
        out, last = _empty(x.dtype, *x.shape), _empty(x.dtype, *start.shape)
        gate = (*rows(x if z is None else z), z is not None)
        run_tasks(
            scan_kernels.forward, batch * blocks, x.numel() * num_states,
            *_arrays(x, dt, A, B, C, D), *gate, *_arrays(bias, start), keep, *_arrays(out, last, borders),
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
        grad_x, grad_dt = (_empty(x.dtype, *x.shape) for _ in range(2))
        grad_z = _empty(x.dtype, *(x.shape if z is not None else (1, 1, 1)))
        grad_A, grad_initial = (_empty(x.dtype, batch, channels, num_states) for _ in range(2))
        grad_B, grad_C = (_empty(x.dtype, blocks, batch, steps, num_states) for _ in range(2))
        grad_D, grad_bias = (_empty(x.dtype, batch, channels) for _ in range(2))
        gate = (*rows(x if z is None else z), z is not None)
        run_tasks(
            scan_backward_kernels.backward, batch * blocks, 3 * x.numel() * num_states,
            *_arrays(x, dt, A, B, C, D), *gate, *_arrays(bias, borders, grad_out.contiguous(), grad_last.contiguous()),
            *_arrays(grad_x, grad_dt, grad_A, grad_B, grad_C, grad_D, grad_z, grad_bias, grad_initial),
        )  # fmt: skip
        needs_z, needs_bias, needs_initial = ctx.needs_input_grad[7:]
        return (
            None, grad_x, grad_dt, *(sum_partials(part) for part in (grad_A, grad_B, grad_C, grad_D)),
            grad_z if needs_z else None, sum_partials(grad_bias) if needs_bias else None,
            grad_initial if needs_initial else None,
        )  # fmt: skip
