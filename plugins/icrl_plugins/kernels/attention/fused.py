"""Causal attention as a differentiable CPU operation (kernels: kernel.py)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from icrl_plugins.kernels.attention import kernel
from icrl_plugins.kernels.runtime.buffers import empty
from icrl_plugins.kernels.runtime.threads import run_tasks

Tensor = torch.Tensor


def causal_attention_cpu(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(Q Kᵀ / √D) V where query i sees the keys 0 … i; differentiable in every argument.

    Args:
        queries, keys, values: (B, N, T, D), float32 or float64.

    Returns:
        (B, N, T, D).

    Raises:
        ValueError: the shapes differ.
    """
    if not queries.shape == keys.shape == values.shape:
        raise ValueError(f"shapes {[tuple(tensor.shape) for tensor in (queries, keys, values)]}, expected equal ones")
    attended: Tensor = _Attention.apply(queries, keys, values)
    return attended


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        shape = inputs[0].shape
        flat = tuple(tensor.detach().flatten(0, 1).contiguous() for tensor in inputs)  # (B N, T, D)
        out, logsums = _new_tensor(flat[0], *flat[0].shape), _new_tensor(flat[0], *flat[0].shape[:2])
        run_tasks(
            kernel.forward, len(out), _work(out), kernel.HeadArrays(*(tensor.numpy() for tensor in flat)),
            1 / math.sqrt(shape[-1]), kernel.Attended(out.numpy(), logsums.numpy()),
        )  # fmt: skip
        ctx.save_for_backward(*flat, out, logsums)
        return out.view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, ...]:
        *inputs, out, logsums = ctx.saved_tensors
        gradients = tuple(_new_tensor(tensor, *tensor.shape) for tensor in inputs)
        run_tasks(
            kernel.backward, len(out), 2 * _work(out), kernel.HeadArrays(*(tensor.numpy() for tensor in inputs)),
            1 / math.sqrt(out.shape[-1]), kernel.Attended(out.numpy(), logsums.numpy()),
            grad_out.flatten(0, 1).contiguous().numpy(), kernel.HeadArrays(*(gradient.numpy() for gradient in gradients)),
        )  # fmt: skip
        return tuple(gradient.view(grad_out.shape) for gradient in gradients)


def _new_tensor(like: Tensor, *shape: int) -> Tensor:
    return torch.from_numpy(empty(like.detach().numpy().dtype, *shape))


def _work(out: Tensor) -> int:
    """Pairs of a query and a key, in blocks that are computed whole."""
    heads, steps, _ = out.shape
    return heads * steps * max(steps, kernel.ROWS) // 2
