"""Layers that a gradient step with learned rates adapts to K tasks at once: weight-transform layers and plain ones.

Mitchell et al. 2021, section 4.2. A weight-transform layer has a latent z (Z,) and an affine generator (W_g, b_g) that
gives its flat weights θ = W_g z + b_g (P,), P = inputs · outputs + outputs; all three tensors are adapted, each with its
own learned rate. With g = ∂L/∂θ the gradients are

    ∂L/∂z = W_gᵀ g        ∂L/∂W_g = g zᵀ        ∂L/∂b_g = g

so a step changes W_g by a matrix of rank one. An adapted layer is therefore kept as its latent and the (g, z) of its
steps, and its weights are

    θ' = W_g z' + b_g − Σ_i (α_W z_i·z' + α_b) g_i

exactly what a step on all three tensors gives, without a copy of W_g (a million numbers at 100 → 100) for every task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn


def inverse_softplus_start(value: float) -> float:
    """The start of a positive number that is learned through softplus, as published: log(value), so that softplus of it
    is a little less than `value` (9.995e-4 for 1e-3)."""
    return float(torch.log(torch.tensor(value, dtype=torch.float64)))


@dataclass(frozen=True)
class Adapted:
    """A layer's weights for K tasks, and what it takes to adapt them further."""

    weights: Tensor  # (K, P) flat effective weights
    latents: Tensor | None  # (K, Z); none in a plain layer
    steps: tuple[tuple[Tensor, Tensor], ...] = ()  # (g (K, P), z (K, Z)) of every step taken

    def detach(self) -> Self:
        """The same numbers without their graph."""
        latents = None if self.latents is None else self.latents.detach()
        return type(self)(self.weights.detach(), latents, tuple((g.detach(), z.detach()) for g, z in self.steps))


class AdaptableLinear(nn.Module):
    """y = x W + b with W (I, J) and b (J,) per task: what weight-transform and plain layers share.

    `rates` are the layer's learned inner rates before softplus, one per adapted tensor.
    """

    rates: nn.Parameter

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.num_weights = inputs * outputs + outputs  # P

    def positive_rates(self) -> Tensor:
        """The inner learning rates, one per adapted tensor."""
        return nn.functional.softplus(self.rates)

    def start(self, num_tasks: int) -> Adapted:
        """The meta-learned weights, the same for each task."""
        raise NotImplementedError

    def step(self, adapted: Adapted, gradient: Tensor) -> Adapted:
        """One step of gradient descent with the learned rates. `gradient` is ∂L/∂θ of each task's own loss, (K, P)."""
        raise NotImplementedError

    def towards(self, path: Sequence[Adapted], share: float) -> Tensor:
        """The weights (K, P) of a layer whose every tensor starts meta-learned and follows the adapted one.

        After each of the steps of `path`, a tensor becomes (1 - share) · what it was + share · its adapted value.
        """
        raise NotImplementedError

    def forward(self, weights: Tensor, inputs: Tensor) -> Tensor:
        """(K, P), (K, B, I) → (K, B, J)."""
        matrix, bias = weights.split([self.inputs * self.outputs, self.outputs], dim=1)
        return torch.baddbmm(bias[:, None], inputs, matrix.view(-1, self.inputs, self.outputs))


class WeightTransformLinear(AdaptableLinear):
    """A layer whose weights an affine map generates from a latent vector."""

    def __init__(self, inputs: int, outputs: int, latent_size: int, initial_rate: float) -> None:
        super().__init__(inputs, outputs)
        self.latent = nn.Parameter(torch.randn(latent_size) / outputs)
        bound = latent_size**-0.5  # of torch's default for a linear layer
        self.generator = nn.Parameter(torch.empty(self.num_weights, latent_size).uniform_(-bound, bound))
        self.generator_bias = nn.Parameter(torch.empty(self.num_weights).uniform_(-bound, bound))
        self.rates = nn.Parameter(torch.full((3,), inverse_softplus_start(initial_rate)))  # z, W_g, b_g

    def start(self, num_tasks: int) -> Adapted:
        weights = self.generator @ self.latent + self.generator_bias
        return Adapted(weights.expand(num_tasks, -1), self.latent.expand(num_tasks, -1))

    def step(self, adapted: Adapted, gradient: Tensor) -> Adapted:
        assert adapted.latents is not None
        latent_rate, generator_rate, _ = self.positive_rates()
        latent_gradient = gradient @ self.generator  # (K, Z): W_gᵀ g, where W_g has changed with every step before
        for g, z in adapted.steps:
            latent_gradient = latent_gradient - generator_rate * (gradient * g).sum(1, keepdim=True) * z
        latents = adapted.latents - latent_rate * latent_gradient
        steps = (*adapted.steps, (gradient, adapted.latents))
        return Adapted(self._weights(latents, steps, [1.0] * len(steps)), latents, steps)

    def towards(self, path: Sequence[Adapted], share: float) -> Tensor:
        latents, shares = self.latent.expand(len(path[-1].weights), -1), [0.0] * len(path)
        for number, adapted in enumerate(path):
            assert adapted.latents is not None
            latents = torch.lerp(latents, adapted.latents, share)
            # The generator's change of a step is in every adapted value from that step on.
            shares[: number + 1] = [each + share * (1 - each) for each in shares[: number + 1]]
        return self._weights(latents, path[-1].steps, shares)

    def _weights(self, latents: Tensor, steps: tuple[tuple[Tensor, Tensor], ...], shares: Sequence[float]) -> Tensor:
        """The weights that `latents` (K, Z) generate after a share of the change of each of `steps`, (K, P)."""
        _, generator_rate, bias_rate = self.positive_rates()
        weights = latents @ self.generator.T + self.generator_bias
        for (g, z), share in zip(steps, shares, strict=True):
            weights = weights - share * (generator_rate * (z * latents).sum(1, keepdim=True) + bias_rate) * g
        return weights


class PlainLinear(AdaptableLinear):
    """A linear layer without weight transform: the ablation."""

    def __init__(self, inputs: int, outputs: int, initial_rate: float) -> None:
        super().__init__(inputs, outputs)
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.rates = nn.Parameter(torch.full((2,), inverse_softplus_start(initial_rate)))  # W, b

    def start(self, num_tasks: int) -> Adapted:
        return Adapted(self._flat().expand(num_tasks, -1), None)

    def step(self, adapted: Adapted, gradient: Tensor) -> Adapted:
        weight_rate, bias_rate = self.positive_rates()
        matrix, bias = gradient.split([self.inputs * self.outputs, self.outputs], dim=1)
        return Adapted(adapted.weights - torch.cat([weight_rate * matrix, bias_rate * bias], dim=1), None)

    def towards(self, path: Sequence[Adapted], share: float) -> Tensor:
        weights = self._flat().expand_as(path[-1].weights)
        for adapted in path:
            weights = torch.lerp(weights, adapted.weights, share)
        return weights

    def _flat(self) -> Tensor:
        return torch.cat([self.weight.flatten(), self.bias])
