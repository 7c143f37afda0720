"""The context of Meta-Q-Learning: the last state of a GRU over recent (action, reward, observation) tuples.

Cho et al. 2014 (arXiv 1406.1078) in PyTorch's form: r, z = σ(W x + U h + b), n = tanh(W x + b + r ∘ (U h + b')),
h ← (1 − z) ∘ n + z ∘ h. Parameters carry a leading task axis K, so that K tasks adapt in one pass. Only the last state is
wanted and windows need no gradient; so the pass is written out: in kernels on the CPU (`gru_cpu.py`), elsewhere here, at a
fifth of the calls of `torch.nn.GRU`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from icrl_plugins.methods.mql.gru_cpu import last_state_cpu
from icrl_plugins.randomness.task_streams import Streams

Tensor = torch.Tensor


class ContextGRU(nn.Module):
    """A one-layer GRU per task; F = A + 1 + O inputs, `size` units, initialised as `torch.nn.GRU`."""

    def __init__(self, streams: Streams, input_size: int, size: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(size)
        self.size = size
        self.weight_input = nn.Parameter(
            streams.uniform(-bound, bound, input_size, 3 * size)
        )  # (K, F, 3·size): r, z, n
        self.weight_hidden = nn.Parameter(streams.uniform(-bound, bound, size, 3 * size))
        self.bias_input = nn.Parameter(streams.uniform(-bound, bound, 1, 3 * size))  # (K, 1, 3·size)
        self.bias_hidden = nn.Parameter(streams.uniform(-bound, bound, 1, 3 * size))

    def forward(self, windows: Tensor, real: Tensor | None = None) -> Tensor:
        """Windows (K, T, B, F), oldest tuple first → contexts (K, B, size), from the zero state.

        Where `real` (K, T, B, 1) is given, the state stays zero until the first real tuple; this is for acting and has no
        gradient.
        """
        parameters = (self.weight_input, self.weight_hidden, self.bias_input, self.bias_hidden)
        fused = windows.device.type == "cpu" and windows.dtype in (torch.float32, torch.float64)
        return (last_state_cpu if fused else last_state)(windows, parameters, real)

    def step(self, tuples: Tensor, state: Tensor) -> Tensor:
        """One tuple (K, B, F) and a state (K, B, size) → the next state; without gradient."""
        inputs = torch.baddbmm(self.bias_input, tuples, self.weight_input)
        return _cell(inputs, state, self.weight_hidden, self.bias_hidden)[0]


def last_state(windows: Tensor, parameters: tuple[Tensor, ...], real: Tensor | None = None) -> Tensor:
    """What `gru_cpu.last_state_cpu` says, on any device."""
    if real is not None or not torch.is_grad_enabled() or not any(each.requires_grad for each in parameters):
        with torch.no_grad():
            return _run(windows, *parameters, real)[0]
    last: Tensor = _LastState.apply(windows, *parameters)
    return last


def _cell(inputs: Tensor, state: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The next state, gates r and z side by side, the candidate n, and U h + b' of the candidate."""
    size = state.shape[-1]
    recurrent = torch.baddbmm(bias, state, weight)  # (K, B, 3·size)
    gates = (inputs[..., : 2 * size] + recurrent[..., : 2 * size]).sigmoid_()
    recurrent_candidate = recurrent[..., 2 * size :]
    candidate = torch.addcmul(inputs[..., 2 * size :], gates[..., :size], recurrent_candidate)
    candidate = candidate.mul_(2).sigmoid_().mul_(2).sub_(1)  # tanh, an eighth of the time of tanh_ on a CPU
    return torch.lerp(candidate, state, gates[..., size:]), gates, candidate, recurrent_candidate


def _run(
    windows: Tensor,
    weight_input: Tensor,
    weight_hidden: Tensor,
    bias_input: Tensor,
    bias_hidden: Tensor,
    real: Tensor | None = None,
    keep: bool = False,
) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
    """The last state and, to `keep`, what every step came from: (state, gates, candidate, recurrent candidate)."""
    num_tasks, length, batch, _ = windows.shape
    inputs = torch.baddbmm(bias_input, windows.flatten(1, 2), weight_input).view(num_tasks, length, batch, -1)
    state = windows.new_zeros(num_tasks, batch, weight_hidden.shape[1])
    steps: list[tuple[Tensor, ...]] = []
    for time in range(length):
        following, *parts = _cell(inputs[:, time], state, weight_hidden, bias_hidden)
        if real is not None:
            following = following * real[:, time]
        if keep:
            steps.append((state, *parts))
        state = following
    return state, steps


class _LastState(torch.autograd.Function):
    """Windows → last state, with the gradient towards the parameters by backpropagation through time."""

    @staticmethod
    def forward(ctx: Any, windows: Tensor, *parameters: Tensor) -> Tensor:
        state, steps = _run(windows, *parameters, keep=True)
        kept = (torch.stack(part, dim=1) for part in zip(*steps, strict=True))  # (K, T, B, ·) each
        ctx.save_for_backward(windows, parameters[1], *kept)
        return state

    @staticmethod
    def backward(ctx: Any, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        windows, weight_hidden, states, gates, candidates, recurrent = ctx.saved_tensors  # (K, T, B, ·)
        size = states.shape[-1]
        reset, update = gates[..., :size], gates[..., size:]
        # What the gradient of a state is multiplied by on its way to each pre-activation, for all steps at once.
        to_candidate = (1 - update) * (1 - candidates.square())
        to_update = (states - candidates) * update * (1 - update)
        to_reset = to_candidate * recurrent * reset * (1 - reset)
        to_recurrent = torch.stack([to_reset, to_update, to_candidate * reset], dim=-2)  # (K, T, B, 3, size)
        transposed = weight_hidden.transpose(1, 2)
        grads: list[Tensor] = []
        grad_state = grad_last
        for time in range(states.shape[1] - 1, -1, -1):
            grads.append(grad_state)
            through_gates = to_recurrent[:, time] * grad_state.unsqueeze(-2)  # (K, B, 3, size)
            grad_state = torch.baddbmm(grad_state * update[:, time], through_gates.flatten(-2), transposed)
        grad_states = torch.stack(grads[::-1], dim=1)  # (K, T, B, size)
        grad_recurrent = (to_recurrent * grad_states.unsqueeze(-2)).flatten(-2).flatten(1, 2)  # (K, T·B, 3·size)
        grad_inputs = torch.cat([grad_recurrent[..., : 2 * size], (to_candidate * grad_states).flatten(1, 2)], dim=-1)
        return (
            None,
            windows.flatten(1, 2).transpose(1, 2) @ grad_inputs,
            states.flatten(1, 2).transpose(1, 2) @ grad_recurrent,
            grad_inputs.sum(dim=1, keepdim=True),
            grad_recurrent.sum(dim=1, keepdim=True),
        )
