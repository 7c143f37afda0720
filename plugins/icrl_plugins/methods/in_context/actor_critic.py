"""An actor and two critics on the features of a causal backbone, for reinforcement learning in context.

Tarasov et al. 2025 ("Yes, Q-learning helps offline in-context RL", arXiv 2502.17666): two Q heads of two layers with leaky
ReLUs, and a policy head of three layers that reads detached features. So the values alone shape the features: what the task
is must be in them, since no reward can be predicted without it. (The learner detaches them, or lets its cloning term through.)
"""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call

from icrl_plugins.methods.in_context.config import InContextConfig
from icrl_plugins.methods.in_context.layout import TokenLayout
from icrl_plugins.methods.in_context.model import InContextModel
from icrl_registry.contracts import BackboneFactory

Tensor = torch.Tensor


class TwinCritics(nn.Module):
    """Q₁ and Q₂ of features and actions (Fujimoto et al. 2018: the smaller of two estimates bounds their optimism)."""

    def __init__(self, feature_size: int, action_size: int, hidden_size: int) -> None:
        super().__init__()
        self.first = _perceptron(feature_size + action_size, [hidden_size], 1)
        self.second = _perceptron(feature_size + action_size, [hidden_size], 1)

    def forward(self, features: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Features (…, D) and actions (…, A) → values (…) of each critic."""
        both = torch.cat([features, actions], dim=-1)
        return self.first(both).squeeze(-1), self.second(both).squeeze(-1)


class ActorCriticModel(InContextModel):
    """Acts by its policy head, deterministically."""

    def __init__(
        self,
        make_backbone: BackboneFactory,
        layout: TokenLayout,
        config: InContextConfig,
        context_length: int,
        hidden_size: int,
    ) -> None:
        super().__init__(make_backbone, layout, config, context_length)
        width = self.backbone.model_size
        self.actor = _perceptron(width, [hidden_size, hidden_size], layout.action_size)
        self.critics = TwinCritics(width, layout.action_size, hidden_size)

    def read_action(self, features: Tensor) -> Tensor:
        """Features (…, D) → actions (…, A) in (-1, 1). Who wants no gradient in the features detaches them."""
        actions: Tensor = self.actor(features).tanh()
        return actions

    def value_of(self, features: Tensor, actions: Tensor) -> Tensor:
        """Q₁ (…), through which a gradient reaches the actions alone: what the actor climbs."""
        frozen = {name: parameter.detach() for name, parameter in self.critics.named_parameters()}
        first, _ = functional_call(self.critics, frozen, (features.detach(), actions))
        value: Tensor = first
        return value


def _perceptron(inputs: int, hidden_sizes: list[int], outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in hidden_sizes:
        layers += [nn.Linear(inputs, size), nn.LeakyReLU()]
        inputs = size
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))
