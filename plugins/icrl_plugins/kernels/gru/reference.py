"""A GRU in plain PyTorch, for K networks at once: the yardstick for the kernels, and what other devices run.

Cho et al. 2014 (arXiv 1406.1078) in PyTorch's form:

    r, z = σ(W x + U h + b)      n = tanh(W x + b + r ∘ (U h + b'))      h ← (1 − z) ∘ n + z ∘ h

Letters: K networks, T steps, B rows, F inputs, S units.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

Tensor = torch.Tensor


class GRUWeights(NamedTuple):
    """Gates in PyTorch's order: r, z, n."""

    input: Tensor  # (K, F, 3 S)
    hidden: Tensor  # (K, S, 3 S)
    input_bias: Tensor  # (K, 1, 3 S)
    hidden_bias: Tensor  # (K, 1, 3 S)


def cell(inputs: Tensor, state: Tensor, weights: GRUWeights) -> Tensor:
    """W x + b (K, B, 3 S) and the state h (K, B, S) → the next state."""
    size = state.shape[-1]
    recurrent = torch.baddbmm(weights.hidden_bias, state, weights.hidden)  # (K, B, 3 S)
    gates = torch.sigmoid(inputs[..., : 2 * size] + recurrent[..., : 2 * size])
    before_tanh = torch.addcmul(inputs[..., 2 * size :], gates[..., :size], recurrent[..., 2 * size :])
    candidate = 2 * torch.sigmoid(2 * before_tanh) - 1  # tanh, an eighth of the time of torch.tanh on a CPU
    return torch.lerp(candidate, state, gates[..., size:])


def last_state_reference(windows: Tensor, weights: GRUWeights, mask: Tensor | None = None) -> Tensor:
    """Arguments and result as `last_state` has them."""
    networks, length, batch, _ = windows.shape
    inputs = torch.baddbmm(weights.input_bias, windows.flatten(1, 2), weights.input).unflatten(1, (length, batch))
    state = windows.new_zeros(networks, batch, weights.hidden.shape[1])
    for time in range(length):
        state = cell(inputs[:, time], state, weights)
        if mask is not None:
            state = state * mask[:, time]
    return state
