"""Linear layers whose float32 products on the CPU go to oneDNN, also where PyTorch's own would go to MKL.

On processors that are not Intel's, MKL keeps to narrow vectors and oneDNN does not: on one core of an AMD EPYC (Zen 5) the
products of a Mamba block of width 64 over 16,000 tokens ran at 50 to 80 GFLOP/s through MKL and at 110 to 215 through oneDNN.
Letters: M rows (batch and time together), I inputs, J outputs of a layer.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

Tensor = torch.Tensor
Gradient = Tensor | None

#: Below this many multiplications the choice of library matters less than the way to it.
_SMALLEST_PRODUCT = 1 << 18


@cache
def _onednn_beside_mkl() -> bool:
    """Whether this build of PyTorch has both libraries, and the operation that names oneDNN."""
    return (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weightᵀ + bias as `torch.nn.functional.linear` has it: (…, I), (J, I), (J) → (…, J), differentiable in all."""
    fits = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    if (
        not fits
        or x.numel() * weight.shape[0] < _SMALLEST_PRODUCT
        or torch.is_autocast_enabled("cpu")
        or not _onednn_beside_mkl()
    ):
        return F.linear(x, weight, bias)
    if not torch.is_grad_enabled():
        return _product(x, weight, bias)
    out: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


def _product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """left (…, I) @ right (J, I)ᵀ + bias, by oneDNN; neither needs to be contiguous."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Gradient, Gradient, Gradient]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        rows = grad_out.reshape(-1, weight.shape[0])  # (M, J)
        grad_x = _product(grad_out, weight.t()) if needs_x else None
        grad_weight = _weight_gradient(rows, x.reshape(-1, weight.shape[1])) if needs_weight else None
        return grad_x, grad_weight, rows.sum(0) if needs_bias else None


def _weight_gradient(grad_out: Tensor, x: Tensor) -> Tensor:
    """(M, J)ᵀ (M, I) → (J, I). A long sum with few results: oneDNN is faster the fewer rows the result has."""
    if grad_out.shape[1] <= x.shape[1]:
        return _product(grad_out.t(), x.t())
    return _product(x.t(), grad_out.t()).t()


class Linear(nn.Linear):
    """`torch.nn.Linear`, with the same parameters, through `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) → (…, J)."""
        return linear(x, self.weight, self.bias)
