"""The context of Meta-Q-Learning: the last state of a GRU over recent (action, reward, observation) tuples.

Its formula (Cho et al., 2014) stands in `kernels/gru/reference.py`. Parameters carry a leading task axis K, so that K tasks
adapt in one pass. Only the last state is wanted and windows need no gradient.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from icrl_plugins.kernels.gru.operation import last_state
from icrl_plugins.kernels.gru.reference import GRUWeights, cell
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
        return last_state(windows, self._weights(), real)

    def step(self, tuples: Tensor, state: Tensor) -> Tensor:
        """One tuple (K, B, F) and a state (K, B, size) → the next state; without gradient."""
        return cell(torch.baddbmm(self.bias_input, tuples, self.weight_input), state, self._weights())

    def _weights(self) -> GRUWeights:
        return GRUWeights(self.weight_input, self.weight_hidden, self.bias_input, self.bias_hidden)
