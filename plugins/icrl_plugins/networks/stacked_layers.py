"""Layers that hold the parameters of K networks and apply network k to row k of their input.

Every layer maps (K, B, …) to (K, B, …). With the parameters of K modules of `torch.nn` it computes what those compute one
after the other, in one batched matrix product; the sum of the K losses gives each network its own gradient, and an
optimiser that works element by element (Adam) takes K independent steps at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from icrl_plugins.randomness.task_streams import Streams

Initialiser = Callable[[Streams, int, int], tuple[torch.Tensor, torch.Tensor]]
"""Streams of K tasks, input and output width → weights (K, in, out) and biases (K, 1, out)."""


def uniform_fan_in(streams: Streams, in_features: int, out_features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and biases from U(±1/√in): what `torch.nn.Linear` starts from."""
    bound = 1.0 / math.sqrt(in_features)
    return streams.uniform(-bound, bound, in_features, out_features), streams.uniform(-bound, bound, 1, out_features)


def orthogonal(gain: float) -> Initialiser:
    """Orthogonal weights times `gain` and biases of zero (Saxe et al., 2014), as `torch.nn.init.orthogonal_` draws them."""

    def draw(streams: Streams, in_features: int, out_features: int) -> tuple[torch.Tensor, torch.Tensor]:
        more, fewer = max(in_features, out_features), min(in_features, out_features)
        q, r = torch.linalg.qr(streams.normal(more, fewer))  # (K, more, fewer), (K, fewer, fewer)
        q = q * torch.diagonal(r, dim1=-2, dim2=-1).sign().unsqueeze(-2)  # uniform over the orthogonal matrices
        weights = q if in_features >= out_features else q.transpose(-2, -1)
        return gain * weights.contiguous(), torch.zeros(streams.num_tasks, 1, out_features)

    return draw


class StackedLinear(nn.Module):
    """y_k = x_k W_k + b_k for K tasks: (K, B, in) → (K, B, out)."""

    def __init__(
        self, streams: Streams, in_features: int, out_features: int, initialise: Initialiser = uniform_fan_in
    ) -> None:
        super().__init__()
        weight, bias = initialise(streams, in_features, out_features)
        self.weight = nn.Parameter(weight)  # (K, in, out)
        self.bias = nn.Parameter(bias)  # (K, 1, out)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(self.bias, inputs, self.weight)

    @torch.no_grad()
    def load(self, task: int, layer: nn.Linear) -> None:
        """Takes the parameters of network `task` from a layer of `torch.nn`."""
        self.weight[task].copy_(layer.weight.T)
        self.bias[task, 0].copy_(layer.bias)


class StackedLayerNorm(nn.Module):
    """Layer normalisation (Ba et al., 2016, equation 4) of the last axis with scales and offsets of each task."""

    def __init__(self, num_tasks: int, width: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_tasks, 1, width))
        self.bias = nn.Parameter(torch.zeros(num_tasks, 1, width))
        self.epsilon = epsilon

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        normalised = F.layer_norm(inputs, inputs.shape[-1:], eps=self.epsilon)
        return torch.addcmul(self.bias, normalised, self.weight)


class StackedDropout(nn.Module):
    """Dropout (Srivastava et al., 2014) whose masks come from each task's own stream; the identity in evaluation."""

    def __init__(self, probability: float, streams: Streams) -> None:
        super().__init__()
        self.probability = probability
        self._streams = streams

    @property
    def scale(self) -> float:
        """What the units that stay are multiplied by, so that the expectation stays too."""
        return 1.0 / (1.0 - self.probability)

    def draw(self, shape: Sequence[int]) -> torch.Tensor | None:
        """Which units are dropped, (K, *shape) bool; None if none ever is."""
        if not self.training or self.probability == 0:
            return None
        return self._streams.bernoulli(self.probability, *shape)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        dropped = self.draw(inputs.shape[1:])
        return inputs if dropped is None else torch.where(dropped, 0.0, inputs * self.scale)


def stacked_mlp(
    streams: Streams,
    sizes: Sequence[int],
    activation: Callable[[], nn.Module] = nn.ReLU,
    initialise: Initialiser = uniform_fan_in,
    initialise_last: Initialiser | None = None,
) -> nn.Sequential:
    """K multilayer perceptrons: (K, B, sizes[0]) → (K, B, sizes[-1]), `activation` between the layers."""
    layers: list[nn.Module] = []
    for in_features, out_features in pairwise(sizes[:-1]):
        layers += [StackedLinear(streams, in_features, out_features, initialise), activation()]
    last = StackedLinear(streams, sizes[-2], sizes[-1], initialise_last or initialise)
    return nn.Sequential(*layers, last)


@torch.no_grad()
def polyak_update(sources: Sequence[torch.Tensor], targets: Sequence[torch.Tensor], tau: float) -> None:
    """target ← (1 - tau)·target + tau·source, in place (Lillicrap et al., 2016, algorithm 1)."""
    for source, target in zip(sources, targets, strict=True):
        target.lerp_(source, tau)
