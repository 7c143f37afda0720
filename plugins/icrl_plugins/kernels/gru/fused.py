"""The last state of a GRU as a differentiable CPU operation (kernels: kernel.py)."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from icrl_plugins.kernels.gru import kernel
from icrl_plugins.kernels.gru.reference import GRUWeights
from icrl_plugins.kernels.runtime.partial_sums import num_sums
from icrl_plugins.kernels.runtime.threads import run_tasks
from icrl_plugins.kernels.runtime.vectors import LANES

Tensor = torch.Tensor


def last_state_cpu(windows: Tensor, parameters: GRUWeights, mask: Tensor | None = None) -> Tensor:
    """Windows (K, T, B, F) → the last states (K, B, S), differentiable in the parameters unless `mask` is given.

    Args:
        windows: float32 or float64, oldest step first.
        real: (K, T, B, 1), or with ones for any of them, by which the state is multiplied after each step; None for ones.

    Raises:
        ValueError: the parameters are for another number of tasks or inputs.
    """
    expected, units = (windows.shape[0], windows.shape[3]), parameters[1].shape[1]
    if parameters[0].shape[:2] != expected or parameters[1].shape != (expected[0], units, 3 * units):
        shapes = [tuple(tensor.shape) for tensor in (windows, *parameters)]
        raise ValueError(f"shapes {shapes}, expected (K, T, B, F), (K, F, 3 S), (K, S, 3 S), (K, 1, 3 S), (K, 1, 3 S)")
    if mask is not None or not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in parameters):
        return _run(windows, [tensor.detach() for tensor in parameters], mask, keep=False)[0]
    last: Tensor = _LastState.apply(windows, *parameters)
    return last


def _run(
    windows: Tensor, parameters: list[Tensor] | tuple[Tensor, ...], mask: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor]:
    """The last states, and what the backward pass needs."""
    networks, steps, batch = windows.shape[:3]
    units = parameters[1].shape[1]
    last = windows.new_empty(networks, batch, units)
    padded = -(-units // LANES) * LANES  # a multiple of what a vector holds in either precision
    saved = windows.new_empty(networks * batch * steps * kernel.SAVED * padded if keep else 0)
    masks = (
        windows.new_empty(0, 0, 0)
        if mask is None
        else mask[..., 0].to(windows.dtype).expand(windows.shape[:3]).contiguous()
    )
    run_tasks(
        kernel.forward, networks * _blocks(batch), _work(windows, units),
        windows.detach().contiguous().numpy(), masks.numpy(), kernel.GRUArrays(*(tensor.numpy() for tensor in parameters)),
        last.numpy(), saved.numpy(),
    )  # fmt: skip
    return last, saved


class _LastState(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, windows: Tensor, *parameters: Tensor) -> Tensor:
        last, saved = _run(windows, parameters, None, keep=True)
        ctx.save_for_backward(windows, saved, *parameters)
        return last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        windows, saved, *parameters = ctx.saved_tensors
        gradients = [torch.empty_like(tensor) for tensor in parameters]
        totals = tuple(gradient.view(-1).numpy() for gradient in gradients)
        blocks = _blocks(windows.shape[2])
        partials = tuple(windows.new_empty(blocks, tensor.numel()).numpy() for tensor in gradients)
        run_tasks(
            kernel.backward, len(windows) * blocks + num_sums(totals), 2 * _work(windows, grad_last.shape[2]),
            windows.detach().contiguous().numpy(), parameters[1].numpy(), saved.numpy(), grad_last.contiguous().numpy(),
            kernel.GRUGradients(partials, totals),
        )  # fmt: skip
        return None, *gradients


def _blocks(batch: int) -> int:
    return -(-batch // kernel.ROWS)


def _work(windows: Tensor, units: int) -> int:
    """In vectors that are multiplied and added."""
    networks, steps, batch, features = windows.shape
    return networks * steps * batch * (features + units) * 3 * units // LANES
