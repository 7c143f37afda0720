"""The fused CPU scan as a differentiable PyTorch operation (kernels and layout: scan_kernels.py)."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from icrl_plugins.backbones.mamba import scan_backward_kernels, scan_kernels
from icrl_plugins.backbones.mamba.buffers import empty
from icrl_plugins.backbones.mamba.partial_sum_kernels import num_sums
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
        kind = _arrays(x)[0].dtype
        borders = empty(kind, batch, blocks, chunks, num_states, scan_kernels.BLOCK)
        out, last = empty(kind, *x.shape), empty(kind, *start.shape)
        gate = (*rows(x if z is None else z), z is not None)
        run_tasks(
            scan_kernels.forward, batch * blocks, x.numel() * num_states,
            *_arrays(x, dt, A, B, C, D), *gate, *_arrays(bias, start), keep, out, last, borders,
        )  # fmt: skip
        if keep:
            ctx.save_for_backward(x, dt, A, B, C, D, z, bias, torch.from_numpy(borders))
        return torch.from_numpy(out), torch.from_numpy(last)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_out: Tensor, grad_last: Tensor) -> tuple[Grad, ...]:
        x, dt, A, B, C, D, z, bias, borders = ctx.saved_tensors
        batch, blocks = borders.shape[:2]
        kind = borders.numpy().dtype
        grad_x, grad_dt = empty(kind, *x.shape), empty(kind, *x.shape)
        grad_z = empty(kind, *(x.shape if z is not None else (1, 1, 1)))
        grad_initial = empty(kind, batch, *A.shape)
        sums = [empty(kind, *tensor.shape) for tensor in (A, B, C, D, bias)]
        parts = (batch, blocks, blocks, batch, batch)
        partials = tuple(empty(kind, count, total.size) for count, total in zip(parts, sums, strict=True))
        totals = tuple(total.reshape(-1) for total in sums)
        gate = (*rows(x if z is None else z), z is not None)
        run_tasks(
            scan_backward_kernels.backward, batch * blocks + num_sums(totals), 3 * x.numel() * A.shape[1],
            *_arrays(x, dt, A, B, C, D), *gate, *_arrays(bias, borders, grad_out.contiguous(), grad_last.contiguous()),
            grad_x, grad_dt, grad_z, grad_initial, partials, totals,
        )  # fmt: skip
        of_A, of_B, of_C, of_D, of_bias = map(torch.from_numpy, sums)
        needs_z, needs_bias, needs_initial = ctx.needs_input_grad[7:]
        return (
            None, torch.from_numpy(grad_x), torch.from_numpy(grad_dt), of_A, of_B, of_C, of_D,
            torch.from_numpy(grad_z) if needs_z else None,
            of_bias if needs_bias else None,
            torch.from_numpy(grad_initial) if needs_initial else None,
        )  # fmt: skip
