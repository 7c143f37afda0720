"""MACAW's losses, its adaptation to K tasks and the outer losses that meta-training descends.

Mitchell et al. 2021, equations 1-5 and algorithm 1, in the form of the published code. With G_t the discounted return to
the end of the episode, n the steps left, s_T the last observation and V̄ the task's target network:

    inner value    (V_φ(s) − G_t)²                                  outer value    (V_φ'(s) − [G_t + γⁿ V̄(s_T)])²
    advantage      A_t = G_t + γⁿ V_φ'(s_T) − V_φ'(s_t)              weight w_t   exp(min((A_t − mean A) / std A, log 20))
    inner policy   −w_t log π_θ(a|s) + c (Â_θ(s, a) − A_t)²         outer policy   −w_t log π_θ'(a|s)

Targets, advantages and weights carry no gradient. Inner steps are differentiated to second order. With several of them each
has its own share of the inner batch, in order; all steps of the value network come first, and the policy's see the values
that these end with. V̄ moves towards φ' after each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from icrl_plugins.methods.macaw.config import MACAWConfig
from icrl_plugins.methods.macaw.layers import Adapted, inverse_softplus_start
from icrl_plugins.methods.macaw.networks import PolicyNetwork, ValueNetwork, Weights, weights_of
from icrl_registry.contracts import EnvironmentSpec


@dataclass(frozen=True)
class MetaBatch:
    """Transitions of K tasks, B each, as the losses need them: scaled rewards, normalised observations."""

    observations: Tensor  # (K, B, O)
    actions: Tensor  # (K, B, A)
    returns: Tensor  # (K, B), G_t
    discounts_to_end: Tensor  # (K, B), γ^(steps left), 0 where the episode's end was the MDP's
    last_observations: Tensor  # (K, B, O), s_T of the episode

    def to(self, device: str) -> MetaBatch:
        """The same on another device."""
        return MetaBatch(*(getattr(self, column.name).to(device) for column in fields(self)))

    def shares(self, count: int) -> list[MetaBatch]:
        """`count` batches of successive transitions, as equally many as can be."""
        columns = [getattr(self, column.name).tensor_split(count, dim=1) for column in fields(self)]
        return [MetaBatch(*parts) for parts in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Adaptation:
    """Both networks adapted to K tasks, and the inner losses (K,) of their first steps."""

    value_steps: list[list[Adapted]]  # the value network after each step
    policy: list[Adapted]
    value_losses: Tensor
    policy_losses: Tensor

    @property
    def value(self) -> list[Adapted]:
        """The value network after its last step."""
        return self.value_steps[-1]


class MetaLearner(nn.Module):
    """The meta-parameters: two networks with their inner rates, and the advantage regression's coefficient."""

    def __init__(self, spec: EnvironmentSpec, config: MACAWConfig) -> None:
        super().__init__()
        self.config = config
        self.value = ValueNetwork(spec, config)
        self.policy = PolicyNetwork(spec, config)
        start = inverse_softplus_start(config.initial_coefficient)
        self.coefficient = nn.Parameter(torch.tensor([start]), requires_grad=config.advantage_head)

    def positive_coefficient(self) -> Tensor:
        """c, (1,)."""
        return nn.functional.softplus(self.coefficient)

    @torch.no_grad()
    def learned_constants(self) -> dict[str, float]:
        """Range and mean of the inner rates of both networks, and c: a collapse to 0 means that nothing is adapted."""
        constants = {"coefficient": float(self.positive_coefficient())} if self.config.advantage_head else {}
        for name, network in (("value", self.value), ("policy", self.policy)):
            rates = network.rates()
            constants[f"{name}_rate_min"] = float(rates.min())
            constants[f"{name}_rate_mean"] = float(rates.mean())
            constants[f"{name}_rate_max"] = float(rates.max())
        return constants

    def adapt(self, batch: MetaBatch, create_graph: bool = False) -> Adaptation:
        """The inner loop: the steps of the value network, then those of the policy with the adapted values."""
        num_tasks, shares = len(batch.observations), batch.shares(self.config.inner_steps)
        value, policy = self.value.start(num_tasks), self.policy.start(num_tasks)
        value_steps, value_losses, policy_losses = [], [], []
        for share in shares:
            value_losses.append(self.inner_value_losses(weights_of(value), share))
            value = self.value.step(value, value_losses[-1], create_graph)
            value_steps.append(value)
        for share in shares:
            advantages = self.advantages(weights_of(value), share)
            policy_losses.append(self.inner_policy_losses(weights_of(policy), share, advantages))
            policy = self.policy.step(policy, policy_losses[-1], create_graph)
        return Adaptation(value_steps, policy, value_losses[0].detach(), policy_losses[0].detach())

    def outer_losses(self, inner: MetaBatch, outer: MetaBatch) -> tuple[Tensor, Tensor, Adaptation]:
        """Value and policy losses on `outer`, (K,) each, after adapting to `inner`; with their graphs through it."""
        adaptation = self.adapt(inner, create_graph=True)
        weights = weights_of(adaptation.value)
        with torch.no_grad():
            target = self.value.towards(adaptation.value_steps, self.config.target_update)
            bootstrap = self.value(target, outer.last_observations)
            targets = outer.returns + outer.discounts_to_end * bootstrap
        value_losses = (self.value(weights, outer.observations) - targets).square().mean(dim=1)
        advantages = self.advantages(weights, outer)
        policy_losses = self.policy_losses(weights_of(adaptation.policy), outer, advantages)
        return value_losses, policy_losses, adaptation

    def inner_value_losses(self, weights: Weights, batch: MetaBatch) -> Tensor:
        """(K,): the values against Monte-Carlo returns."""
        return (self.value(weights, batch.observations) - batch.returns).square().mean(dim=1)

    @torch.no_grad()
    def advantages(self, weights: Weights, batch: MetaBatch) -> Tensor:
        """A_t by the value network with these weights, (K, B), without gradient."""
        bootstrap = batch.discounts_to_end * self.value(weights, batch.last_observations)
        return batch.returns + bootstrap - self.value(weights, batch.observations)

    def inner_policy_losses(self, weights: Weights, batch: MetaBatch, advantages: Tensor) -> Tensor:
        """(K,): advantage-weighted regression and, with an advantage head, the regression of the raw advantage."""
        features = self.policy.features(weights, batch.observations)
        losses = self._weighted_regression(self.policy.mean(weights, features), batch.actions, advantages)
        if self.config.advantage_head:
            estimates = self.policy.advantages(weights, features, batch.actions)
            losses = losses + self.positive_coefficient() * (estimates - advantages).square().mean(dim=1)
        return losses

    def policy_losses(self, weights: Weights, batch: MetaBatch, advantages: Tensor) -> Tensor:
        """(K,): advantage-weighted regression."""
        return self._weighted_regression(self.policy(weights, batch.observations), batch.actions, advantages)

    def _weighted_regression(self, means: Tensor, actions: Tensor, advantages: Tensor) -> Tensor:
        weights = advantage_weights(advantages, self.config)
        return -(weights * log_probability(actions, means, self.config.policy_std)).mean(dim=1)


def advantage_weights(advantages: Tensor, config: MACAWConfig) -> Tensor:
    """exp of the advantages standardised within each task's batch, clipped from above; (K, B) → (K, B)."""
    deviation = advantages.std(dim=1, keepdim=True) + config.advantage_epsilon
    standardised = (advantages - advantages.mean(dim=1, keepdim=True)) / (deviation * config.temperature)
    return standardised.clamp(max=math.log(config.weight_clip)).exp()


def log_probability(actions: Tensor, means: Tensor, deviation: float) -> Tensor:
    """Of a Gaussian with one fixed deviation, summed over action components; (K, B, A) → (K, B)."""
    constant = math.log(deviation) + 0.5 * math.log(2 * math.pi)
    return -((actions - means).square() / (2 * deviation**2) + constant).sum(dim=-1)
