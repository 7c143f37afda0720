"""The fused CPU scan as a differentiable PyTorch operation (kernels and layout: kernel.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from icrl_plugins.kernels.runtime import derivatives
from icrl_plugins.kernels.runtime.buffers import empty
from icrl_plugins.kernels.runtime.column_ranges import rows
from icrl_plugins.kernels.runtime.partial_sums import num_sums
from icrl_plugins.kernels.runtime.threads import run_tasks
from icrl_plugins.kernels.selective_scan import backward_kernel, kernel
from icrl_plugins.kernels.selective_scan.reference import ScanInputs, ScanWeights

Tensor = torch.Tensor
Gradient = Tensor | None


def scan_cpu(sequence: ScanInputs, weights: ScanWeights, initial_state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Arguments and results as `selective_scan` has them; float32 or float64, other dtypes are computed in float32."""
    x, (A, D, dt_bias) = sequence.x, weights
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    inputs = [
        tensor if tensor is None or tensor.dtype == dtype else tensor.to(dtype)
        for tensor in (x, sequence.dt, A, sequence.B, sequence.C, D, sequence.z, dt_bias, initial_state)
    ]
    if derivatives.wanted(inputs):
        out, last = _FusedScan.apply(*inputs)
    else:
        _, outputs = _run(False, *inputs)
        out, last = torch.from_numpy(outputs.out), torch.from_numpy(outputs.last)
    return (out if out.dtype == x.dtype else out.to(x.dtype)), last


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]


def _or_zeros(tensor: Tensor | None, like: Any, *shape: int) -> Any:
    """The tensor as an array, or zeros of that shape and the dtype of `like`."""
    return np.zeros(shape, like.dtype) if tensor is None else tensor.detach().contiguous().numpy()


def _gate(z: Tensor | None, x: Any) -> kernel.Gate:
    return kernel.Gate(x, 0, False) if z is None else kernel.Gate(*rows(z), True)


def _run(keep: bool, *inputs: Tensor | None) -> tuple[list[Tensor], kernel.Outputs]:
    """Gives the first six inputs, contiguous, and what the kernel made of all nine; borders are empty unless `keep`."""
    tensors = [tensor.contiguous() for tensor in inputs[:6] if tensor is not None]
    z, dt_bias, initial = inputs[6:]
    x, dt, A, B, C, D = _arrays(*tensors)
    batch, steps, channels = x.shape
    blocks = -(-channels // kernel.BLOCK)
    chunks = -(-steps // kernel.CHUNK) if keep else 0
    borders = empty(x.dtype, batch, blocks, chunks, A.shape[1], kernel.BLOCK)
    outputs = kernel.Outputs(empty(x.dtype, *x.shape), empty(x.dtype, batch, *A.shape), borders)
    run_tasks(
        kernel.forward, batch * blocks, x.size * A.shape[1],
        kernel.SequenceArrays(x, dt, B, C), _gate(z, x), kernel.WeightArrays(A, D, _or_zeros(dt_bias, x, channels)),
        _or_zeros(initial, x, *outputs.last.shape), keep, outputs,
    )  # fmt: skip
    return tensors, outputs


class _FusedScan(torch.autograd.Function):
    """The states at chunk borders are kept for the backward pass.

    A call of PyTorch costs several times as much when a kernel has just filled the caches, and at 1,000 tokens those around
    the kernels are a tenth of a pass: hence few of them, and arrays where a tensor isn't needed.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        tensors, outputs = _run(True, *inputs)
        ctx.save_for_backward(*tensors, *inputs[6:8], torch.from_numpy(outputs.borders))
        ctx.set_materialize_grads(False)
        return torch.from_numpy(outputs.out), torch.from_numpy(outputs.last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor | None, grad_last: Tensor | None) -> tuple[Gradient, ...]:
        *tensors, z, dt_bias, saved = ctx.saved_tensors
        (x, dt, A, B, C, D), borders = _arrays(*tensors), saved.numpy()
        batch, blocks = borders.shape[:2]
        weights = kernel.WeightArrays(A, D, _or_zeros(dt_bias, x, *D.shape))
        gradients = backward_kernel.Gradients(
            empty(x.dtype, *x.shape), empty(x.dtype, *x.shape),
            empty(x.dtype, *(x.shape if z is not None else (1, 1, 1))), empty(x.dtype, batch, *A.shape),
        )  # fmt: skip
        sums = [empty(x.dtype, *array.shape) for array in (A, B, C, D, weights.dt_bias)]
        parts = (batch, blocks, blocks, batch, batch)
        partials = tuple(empty(x.dtype, count, total.size) for count, total in zip(parts, sums, strict=True))
        totals = tuple(total.reshape(-1) for total in sums)
        upstream = backward_kernel.Upstream(_or_zeros(grad_out, x, *x.shape), _or_zeros(grad_last, x, batch, *A.shape))
        run_tasks(
            backward_kernel.backward, batch * blocks + num_sums(totals), 3 * x.size * A.shape[1],
            kernel.SequenceArrays(x, dt, B, C), _gate(z, x), weights, borders, upstream, gradients,
            backward_kernel.Sums(partials, totals),
        )  # fmt: skip
        grads = (gradients.x, gradients.dt, *sums[:4], gradients.z, sums[4], gradients.initial)
        needed = ctx.needs_input_grad
        return tuple(torch.from_numpy(grad) if needs else None for grad, needs in zip(grads, needed, strict=True))
