"""Actor and critics of Meta-Q-Learning, each with a context of its own; every parameter has a leading task axis K.

Meta-training is K = 1, adaptation to K tasks is K copies that part ways: one code path.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from icrl_plugins.methods.mql.config import MQLConfig
from icrl_plugins.methods.mql.context import ContextGRU
from icrl_plugins.networks.stacked_layers import stacked_mlp
from icrl_plugins.randomness.task_streams import Streams, TaskStreams
from icrl_registry.contracts import EnvironmentSpec

Tensor = torch.Tensor


class _WithContext(nn.Module):
    """What actor and critic share: a GRU over history tuples, or none."""

    def __init__(self, streams: Streams, spec: EnvironmentSpec, config: MQLConfig) -> None:
        super().__init__()
        size = config.context_size
        self.context = ContextGRU(streams, tuple_size(spec), size) if size else None

    def encode(self, windows: Tensor, real: Tensor | None = None) -> Tensor:
        """Histories (K, T, B, F) → contexts (K, B, Z); see `ContextGRU.forward`."""
        if self.context is None:
            return windows.new_zeros(windows.shape[0], windows.shape[2], 0)
        contexts: Tensor = self.context(windows, real)
        return contexts


class Actor(_WithContext):
    """μ(s, z) = tanh(MLP([s, z])), z the context."""

    def __init__(self, streams: Streams, spec: EnvironmentSpec, config: MQLConfig) -> None:
        super().__init__(streams, spec, config)
        inputs = spec.observation_size + config.context_size
        self.mlp = stacked_mlp(streams, (inputs, *config.hidden_sizes, spec.action_size))

    def forward(self, observations: Tensor, contexts: Tensor) -> Tensor:
        """(K, B, O) and (K, B, Z) → actions (K, B, A) in (-1, 1)."""
        out: Tensor = self.mlp(torch.cat([observations, contexts], dim=-1))
        return out.tanh()


class Critic(_WithContext):
    """Q_1 and Q_2 of [s, a, z], with one context for both."""

    def __init__(self, streams: Streams, spec: EnvironmentSpec, config: MQLConfig) -> None:
        super().__init__(streams, spec, config)
        inputs = spec.observation_size + spec.action_size + config.context_size
        self.heads = nn.ModuleList(stacked_mlp(streams, (inputs, *config.hidden_sizes, 1)) for _ in range(2))

    def forward(self, observations: Tensor, actions: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """(K, B, O), (K, B, A), (K, B, Z) → both values, (K, B) each."""
        inputs = torch.cat([observations, actions, contexts], dim=-1)
        first, second = (head(inputs)[..., 0] for head in self.heads)
        return first, second

    def first(self, observations: Tensor, actions: Tensor, contexts: Tensor) -> Tensor:
        """Q_1 alone, which the actor climbs, (K, B)."""
        value: Tensor = self.heads[0](torch.cat([observations, actions, contexts], dim=-1))
        return value[..., 0]


class Networks(nn.Module):
    """Actor and critic: the parameters that are trained, anchored and rolled back."""

    def __init__(self, streams: Streams, spec: EnvironmentSpec, config: MQLConfig) -> None:
        super().__init__()
        self.actor = Actor(streams, spec, config)
        self.critic = Critic(streams, spec, config)

    @classmethod
    def initial(cls, spec: EnvironmentSpec, config: MQLConfig, seed: np.random.SeedSequence) -> Networks:
        """Weights that depend on `seed` alone, for K = 1."""
        return cls(TaskStreams([seed]), spec, config)

    def copies(self, num_tasks: int) -> Networks:
        """K equal copies of a module with K = 1; later changes of either side don't reach the other."""
        clone = copy.deepcopy(self)
        for parameter in clone.parameters():
            parameter.data = parameter.data.repeat(num_tasks, *(1 for _ in parameter.shape[1:]))
        return clone


def tuple_size(spec: EnvironmentSpec) -> int:
    """F: the entries of one history tuple (action, reward, observation)."""
    return spec.action_size + 1 + spec.observation_size
