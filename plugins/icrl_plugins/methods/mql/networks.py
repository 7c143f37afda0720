"""Actor and critics of Meta-Q-Learning, each with a context of its own; every parameter has a leading task axis K.

Meta-training is K = 1, adaptation to K tasks is K copies that part ways: one code path. Axis Q stands for the two Q heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from icrl_plugins.methods.mql.context import ContextGRU
from icrl_registry.contracts import EnvironmentSpec

Tensor = torch.Tensor


class BatchedMLP(nn.Module):
    """Fully connected layers with ReLU between, one set of weights a task and head; initialised as `torch.nn.Linear`."""

    def __init__(self, num_tasks: int, num_heads: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            bound = 1 / math.sqrt(inputs)
            weight = torch.empty(1, num_heads, inputs, outputs).uniform_(-bound, bound)
            bias = torch.empty(1, num_heads, 1, outputs).uniform_(-bound, bound)
            self.weights.append(nn.Parameter(weight.repeat(num_tasks, 1, 1, 1)))  # (K, Q, in, out)
            self.biases.append(nn.Parameter(bias.repeat(num_tasks, 1, 1, 1)))  # (K, Q, 1, out)

    def forward(self, inputs: Tensor, num_heads: int) -> Tensor:
        """(K, B, in) → outputs of the first `num_heads` heads, (K, Q, B, out)."""
        num_tasks, batch, _ = inputs.shape
        hidden = inputs[:, None].expand(-1, num_heads, -1, -1).flatten(0, 1)  # (K·Q, B, in)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = hidden.relu() if layer else hidden
            hidden = torch.baddbmm(bias[:, :num_heads].flatten(0, 1), hidden, weight[:, :num_heads].flatten(0, 1))
        return hidden.view(num_tasks, num_heads, batch, -1)


class Actor(nn.Module):
    """μ(s, z) = tanh(MLP([s, z])), z the context."""

    def __init__(self, num_tasks: int, spec: EnvironmentSpec, hidden_sizes: Sequence[int], context_size: int) -> None:
        super().__init__()
        self.context = _context(num_tasks, spec, context_size)
        sizes = (spec.observation_size + context_size, *hidden_sizes, spec.action_size)
        self.mlp = BatchedMLP(num_tasks, 1, sizes)

    def encode(self, windows: Tensor, real: Tensor | None = None) -> Tensor:
        """(K, T, B, F) → contexts (K, B, Z)."""
        return _encode(self.context, windows, real)

    def forward(self, observations: Tensor, contexts: Tensor) -> Tensor:
        """(K, B, O) and (K, B, Z) → actions (K, B, A) in (-1, 1)."""
        out: Tensor = self.mlp(torch.cat([observations, contexts], dim=-1), 1)
        return out[:, 0].tanh()


class Critic(nn.Module):
    """Q_1 and Q_2 of [s, a, z], with one context for both."""

    def __init__(self, num_tasks: int, spec: EnvironmentSpec, hidden_sizes: Sequence[int], context_size: int) -> None:
        super().__init__()
        self.context = _context(num_tasks, spec, context_size)
        sizes = (spec.observation_size + spec.action_size + context_size, *hidden_sizes, 1)
        self.mlp = BatchedMLP(num_tasks, 2, sizes)

    def encode(self, windows: Tensor) -> Tensor:
        """(K, T, B, F) → contexts (K, B, Z)."""
        return _encode(self.context, windows, None)

    def forward(self, observations: Tensor, actions: Tensor, contexts: Tensor, num_heads: int = 2) -> Tensor:
        """(K, B, O), (K, B, A), (K, B, Z) → values of the first heads, (K, Q, B)."""
        out: Tensor = self.mlp(torch.cat([observations, actions, contexts], dim=-1), num_heads)
        return out[..., 0]


def tuple_size(spec: EnvironmentSpec) -> int:
    """F: the entries of one history tuple (action, reward, observation)."""
    return spec.action_size + 1 + spec.observation_size


def _context(num_tasks: int, spec: EnvironmentSpec, size: int) -> ContextGRU | None:
    return ContextGRU(num_tasks, tuple_size(spec), size) if size else None


def _encode(context: ContextGRU | None, windows: Tensor, real: Tensor | None) -> Tensor:
    if context is None:
        return windows.new_zeros(windows.shape[0], windows.shape[2], 0)
    out: Tensor = context(windows, real)
    return out
