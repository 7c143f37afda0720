"""The two networks of MACAW, evaluated for K tasks with a set of weights each.

Mitchell et al. 2021, section 4: a value network, and a policy with a second head that estimates advantages in the inner
loss only. The published code rectifies the actions that enter that head too, which hides their negative half; here the
features are rectified and the actions enter as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from icrl_plugins.methods.macaw.config import MACAWConfig
from icrl_plugins.methods.macaw.layers import AdaptableLinear, Adapted, PlainLinear, WeightTransformLinear
from icrl_registry.contracts import EnvironmentSpec

Weights = Sequence[Tensor]  # (K, P) for each layer


class AdaptableNetwork(nn.Module):
    """Layers that are adapted together."""

    layers: nn.ModuleList

    def start(self, num_tasks: int) -> list[Adapted]:
        """The meta-learned weights of every layer, for each of K tasks."""
        return [layer.start(num_tasks) for layer in self._layers()]

    def step(self, adapted: Sequence[Adapted], losses: Tensor, create_graph: bool) -> list[Adapted]:
        """One inner step on each task's own loss (K,), which was computed with the weights of `adapted`.

        With `create_graph` the result can be differentiated through the step (second order).
        """
        gradients = torch.autograd.grad(losses.sum(), weights_of(adapted), create_graph=create_graph)
        return [layer.step(each, g) for layer, each, g in zip(self._layers(), adapted, gradients, strict=True)]

    def towards(self, steps: Sequence[Sequence[Adapted]], share: float) -> list[Tensor]:
        """See `AdaptableLinear.towards`, for every layer; `steps` are the layers after each inner step."""
        paths = zip(*steps, strict=True)
        return [layer.towards(path, share) for layer, path in zip(self._layers(), paths, strict=True)]

    def rates(self) -> Tensor:
        """All inner learning rates, (R,)."""
        return torch.cat([layer.positive_rates() for layer in self._layers()])

    def _layers(self) -> list[AdaptableLinear]:
        return [layer for layer in self.layers if isinstance(layer, AdaptableLinear)]


def weights_of(adapted: Sequence[Adapted]) -> list[Tensor]:
    """The weights of every layer, (K, P) each."""
    return [each.weights for each in adapted]


class ValueNetwork(AdaptableNetwork):
    """V(s): hidden layers with ReLU, one output."""

    def __init__(self, spec: EnvironmentSpec, config: MACAWConfig) -> None:
        super().__init__()
        sizes = [spec.observation_size, *[config.hidden_size] * config.num_layers, 1]
        self.layers = nn.ModuleList(_layer(i, j, config) for i, j in itertools.pairwise(sizes))

    def forward(self, weights: Weights, observations: Tensor) -> Tensor:
        """(K, B, O) → (K, B)."""
        features = self.layers[0](weights[0], observations)
        for layer, each in zip(self.layers[1:], weights[1:], strict=True):
            features = layer(each, torch.relu(features))
        return features.squeeze(-1)


class PolicyNetwork(AdaptableNetwork):
    """The mean of a Gaussian with fixed deviation, and the advantage head.

    Layers, in order: the trunk, the mean head and, if there is one, the advantage head's two.
    """

    def __init__(self, spec: EnvironmentSpec, config: MACAWConfig) -> None:
        super().__init__()
        width = config.hidden_size
        sizes = [spec.observation_size, *[width] * config.num_layers]
        trunk = [_layer(i, j, config) for i, j in itertools.pairwise(sizes)]
        heads = [_layer(width, spec.action_size, config)]
        if config.advantage_head:
            heads += [
                _layer(width + spec.action_size, config.advantage_hidden_size, config),
                _layer(config.advantage_hidden_size, 1, config),
            ]
        if (
            config.inner_steps == 1
        ):  # the advantage head is adapted for a second inner step only: nothing learns its rates
            for layer in heads[1:]:
                layer.rates.requires_grad_(False)
        self.num_trunk_layers = len(trunk)
        self.layers = nn.ModuleList([*trunk, *heads])

    def features(self, weights: Weights, observations: Tensor) -> Tensor:
        """(K, B, O) → the trunk's rectified output, (K, B, width)."""
        features = observations
        for layer, each in zip(self.layers[: self.num_trunk_layers], weights, strict=False):
            features = torch.relu(layer(each, features))
        return features

    def mean(self, weights: Weights, features: Tensor) -> Tensor:
        """Features (K, B, width) → mean actions (K, B, A) in [-1, 1]."""
        return torch.tanh(self.layers[self.num_trunk_layers](weights[self.num_trunk_layers], features))

    def advantages(self, weights: Weights, features: Tensor, actions: Tensor) -> Tensor:
        """Features (K, B, width) and actions (K, B, A) → estimated advantages, (K, B)."""
        hidden, output = self.layers[-2], self.layers[-1]
        inputs = torch.cat([features, actions], dim=-1)
        return output(weights[-1], torch.relu(hidden(weights[-2], inputs))).squeeze(-1)

    def forward(self, weights: Weights, observations: Tensor) -> Tensor:
        """(K, B, O) → mean actions (K, B, A)."""
        return self.mean(weights, self.features(weights, observations))


def _layer(inputs: int, outputs: int, config: MACAWConfig) -> AdaptableLinear:
    if config.weight_transform:
        return WeightTransformLinear(inputs, outputs, config.latent_size, config.initial_rate)
    return PlainLinear(inputs, outputs, config.initial_rate)
