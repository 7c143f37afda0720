"""MACAW against its specification written down plainly: every tensor of a task adapted by itself, by autograd.

Mitchell et al. 2021, algorithm 1. A layer's latent, generator and offset are three tensors that gradient descent moves; the
package keeps the steps instead, which is the same and a hundred times smaller. Meta-gradients go through all of it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from icrl_plugins.methods.macaw.config import MACAWConfig
from icrl_plugins.methods.macaw.meta_learning import MetaBatch, MetaLearner
from icrl_registry.contracts import EnvironmentSpec

from ..ledgers.ledger import Ledger, Size

Tensor = torch.Tensor
Tensors = list[Tensor]  # of a layer: latent, generator, offset; or weights and biases
SPEC = EnvironmentSpec("plain", observation_size=3, action_size=2, horizon=10)
CHOICES: dict[str, list[Any]] = {
    "num_layers": [1, 2, 3],
    "weight_transform": [True, True, False],
    "advantage_head": [True, False],
    "inner_steps": [1, 2, 3],
    "temperature": [1.0, 0.5],
    "weight_clip": [20.0, 1.5],
    "target_update": [0.0, 0.1, 0.7],
    "policy_std": [0.2, 0.5],
}


def layer(tensors: Tensors, inputs: Tensor, outputs: int) -> Tensor:
    """y = x W + b, from plain weights or from those that the generator makes of the latent."""
    if len(tensors) == 3:
        latent, generator, offset = tensors
        flat = generator @ latent + offset
        return inputs @ flat[:-outputs].view(-1, outputs) + flat[-outputs:]
    return inputs @ tensors[0] + tensors[1]


class Plain:
    """The losses of one task."""

    def __init__(self, learner: MetaLearner) -> None:
        self.config = learner.config
        self.sizes = {"value": [each.outputs for each in learner.value.layers]}
        self.sizes["policy"] = [each.outputs for each in learner.policy.layers]
        self.start = {
            name: self._tensors(network) for name, network in (("value", learner.value), ("policy", learner.policy))
        }
        self.rates = {
            name: [F.softplus(each.rates) for each in network.layers]
            for name, network in (("value", learner.value), ("policy", learner.policy))
        }
        self.coefficient = F.softplus(learner.coefficient)

    def _tensors(self, network: Any) -> list[Tensors]:
        names = ("latent", "generator", "generator_bias") if self.config.weight_transform else ("weight", "bias")
        return [[getattr(each, name) for name in names] for each in network.layers]

    def value(self, layers: list[Tensors], observations: Tensor) -> Tensor:
        features = observations
        for index, tensors in enumerate(layers):
            features = layer(tensors, torch.relu(features) if index else features, self.sizes["value"][index])
        return features[:, 0]

    def policy(self, layers: list[Tensors], observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean actions, and estimated advantages where there is a head for them."""
        features, sizes, trunk = observations, self.sizes["policy"], self.config.num_layers
        for index in range(trunk):
            features = torch.relu(layer(layers[index], features, sizes[index]))
        means = torch.tanh(layer(layers[trunk], features, sizes[trunk]))
        if not self.config.advantage_head:
            return means, None
        hidden = torch.relu(layer(layers[-2], torch.cat([features, actions], dim=1), sizes[-2]))
        return means, layer(layers[-1], hidden, 1)[:, 0]

    def descend(self, name: str, layers: list[Tensors], loss: Tensor) -> list[Tensors]:
        """One step of each tensor with its own rate, differentiable."""
        flat = [tensor for tensors in layers for tensor in tensors]
        gradients = iter(torch.autograd.grad(loss, flat, create_graph=True, allow_unused=True))
        moved = []
        for tensors, rates in zip(layers, self.rates[name], strict=True):
            steps = [(tensor, rate, next(gradients)) for tensor, rate in zip(tensors, rates, strict=True)]
            moved.append([tensor if gradient is None else tensor - rate * gradient for tensor, rate, gradient in steps])
        return moved

    def advantages(self, value: list[Tensors], batch: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            bootstrap = batch["discounts_to_end"] * self.value(value, batch["last_observations"])
            return batch["returns"] + bootstrap - self.value(value, batch["observations"])

    def regression(self, means: Tensor, batch: dict[str, Tensor], advantages: Tensor) -> Tensor:
        spread = (advantages.std() + self.config.advantage_epsilon) * self.config.temperature
        weights = torch.exp(((advantages - advantages.mean()) / spread).clamp(max=math.log(self.config.weight_clip)))
        normal = torch.distributions.Normal(means, self.config.policy_std)
        return -(weights * normal.log_prob(batch["actions"]).sum(1)).mean()

    def outer_loss(self, inner: dict[str, Tensor], outer: dict[str, Tensor]) -> Tensor:
        """Algorithm 1 for one task, with several inner steps: all of the value network first."""
        value, policy = self.start["value"], self.start["policy"]
        target, shares = value, split(inner, self.config.inner_steps)
        for share in shares:
            loss = ((self.value(value, share["observations"]) - share["returns"]) ** 2).mean()
            value = self.descend("value", value, loss)
            part = self.config.target_update
            target = [
                [(1 - part) * old + part * new for old, new in zip(*pair, strict=True)]
                for pair in zip(target, value, strict=True)
            ]
        for share in shares:
            advantages = self.advantages(value, share)
            means, estimates = self.policy(policy, share["observations"], share["actions"])
            loss = self.regression(means, share, advantages)
            if estimates is not None:
                loss = loss + self.coefficient * ((estimates - advantages) ** 2).mean()
            policy = self.descend("policy", policy, loss)
        with torch.no_grad():
            bootstrap = outer["discounts_to_end"] * self.value(target, outer["last_observations"])
        wanted = outer["returns"] + bootstrap
        value_loss = ((self.value(value, outer["observations"]) - wanted) ** 2).mean()
        means, _ = self.policy(policy, outer["observations"], outer["actions"])
        return value_loss + self.regression(means, outer, self.advantages(value, outer))


def split(batch: dict[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """Successive shares of a batch, the first ones a transition longer where it can't be shared evenly."""
    rows = np.array_split(np.arange(len(batch["returns"])), count)
    return [{name: column[torch.from_numpy(chosen)] for name, column in batch.items()} for chosen in rows]


def draw(tasks: int, rows: int, generator: torch.Generator) -> dict[str, Tensor]:
    def normal(*shape: int) -> Tensor:
        return torch.randn(tasks, rows, *shape, generator=generator, dtype=torch.float64)

    columns = (normal(3), normal(2).tanh(), normal(), normal().sigmoid(), normal(3))
    return dict(zip(MetaBatch.__dataclass_fields__, columns, strict=True))


def problem(settings: dict[str, Any], seed: int) -> str | None:
    """How the mean outer loss over tasks or one of its gradients differs from the plain one."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 5, "latent_size": 3, "advantage_hidden_size": 4}
    learner = MetaLearner(SPEC, MACAWConfig(**sizes, **settings)).double()
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            if name.endswith(("rates", "coefficient")):
                parameter.uniform_(-3.5, -1.5)
    generator, tasks = torch.Generator().manual_seed(seed), 1 + seed % 3
    inner, outer = draw(tasks, 7 + seed % 5, generator), draw(tasks, 6, generator)
    plain = Plain(learner)
    alone = [
        plain.outer_loss(*({name: column[task] for name, column in batch.items()} for batch in (inner, outer)))
        for task in range(tasks)
    ]
    value_losses, policy_losses, _ = learner.outer_losses(MetaBatch(**inner), MetaBatch(**outer))
    found, expected = (value_losses + policy_losses).mean(), torch.stack(alone).mean()
    learned = {name: each for name, each in learner.named_parameters() if each.requires_grad}
    if float((found - expected).detach().abs()) > 1e-9 * (1 + float(expected.detach().abs())):
        return f"the outer loss is {float(found)}, not {float(expected)}"
    gradients = [torch.autograd.grad(loss, list(learned.values()), allow_unused=True) for loss in (found, expected)]
    for name, ours, theirs in zip(learned, *gradients, strict=True):
        if ours is None or theirs is None:
            if ours is not theirs:
                return f"only one side has a gradient of {name}"
        elif float((ours - theirs).abs().max()) > 1e-8 * (1 + float(theirs.abs().max())):
            return f"the gradient of {name} is off by {float((ours - theirs).abs().max()):.2g}"
    return None


def test_outer_gradients_are_those_of_the_plain_specification(size: Size, ledger: Ledger):
    for seed in range(size.pick(12, 60, 600)):
        generator = np.random.default_rng([32, seed])
        settings = {name: values[generator.integers(len(values))] for name, values in CHOICES.items()}
        ledger.note(f"macaw, seed {seed}, {settings}", problem(settings, seed))
    ledger.settle()
