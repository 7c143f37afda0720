"""One TD3 update against the algorithm written down plainly with `torch.nn`, and tasks that cannot touch each other."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from icrl_plugins.methods.mql.config import MQLConfig
from icrl_plugins.methods.mql.networks import Networks
from icrl_plugins.methods.mql.td3 import TD3, TD3Batch, Weighting
from icrl_registry.contracts import EnvironmentSpec

OBS, A, T, B, Z = 4, 2, 5, 6, 3
SPEC = EnvironmentSpec("plain", OBS, A, 10)
CONFIG = MQLConfig(
    hidden_sizes=(16, 12), context_size=Z, history_length=T, policy_frequency=2, tau=0.3, target_noise=0.9, discount=0.9
)
RATE = 1e-2


def random_batch(num_tasks: int, seed: int) -> tuple[TD3Batch, torch.Tensor]:
    """A made-up batch in float64, and the noise of an update."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(num_tasks, *shape, dtype=torch.float64, generator=generator)

    ended = (normal(B) > 0.5).double()
    histories, shifted = normal(T, B, A + 1 + OBS), normal(T, B, A + 1 + OBS)
    batch = TD3Batch(normal(B, OBS), normal(B, A).tanh(), normal(B), normal(B, OBS), ended, histories, shifted)
    return batch, normal(B, A)


def make(num_tasks: int, seed: int = 0) -> TD3:
    """A learner whose tasks start equal, in float64."""
    networks = Networks.initial(SPEC, CONFIG, np.random.SeedSequence(seed)).double()
    return TD3(networks.copies(num_tasks), networks.copies(num_tasks), CONFIG, RATE)


def plain_gru(context: nn.Module) -> nn.GRU:
    gru = nn.GRU(A + 1 + OBS, Z).double()
    for name, tensor in (
        ("weight_ih_l0", context.weight_input[0].T),
        ("weight_hh_l0", context.weight_hidden[0].T),
        ("bias_ih_l0", context.bias_input[0, 0]),
        ("bias_hh_l0", context.bias_hidden[0, 0]),
    ):
        getattr(gru, name).data = tensor.detach().clone()
    return gru


def plain_mlp(mlp: nn.Sequential) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer in mlp:
        if isinstance(layer, nn.ReLU):
            layers.append(nn.ReLU())
            continue
        linear = nn.Linear(*layer.weight.shape[1:]).double()
        linear.weight.data, linear.bias.data = layer.weight[0].T.detach().clone(), layer.bias[0, 0].detach().clone()
        layers.append(linear)
    return nn.Sequential(*layers)


class Plain:
    """Actor, critics and their targets with `torch.nn` alone, for one task."""

    def __init__(self, networks: Networks) -> None:
        self.actor = nn.ModuleList([plain_gru(networks.actor.context), plain_mlp(networks.actor.mlp)])
        heads = [plain_mlp(head) for head in networks.critic.heads]
        self.critic = nn.ModuleList([plain_gru(networks.critic.context), *heads])
        self.target_actor, self.target_critic = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        self.actor_adam = torch.optim.Adam(self.actor.parameters(), lr=RATE)
        self.critic_adam = torch.optim.Adam(self.critic.parameters(), lr=RATE)

    @staticmethod
    def act(actor: nn.ModuleList, s: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
        return torch.tanh(actor[1](torch.cat([s, actor[0](history)[1][0]], dim=-1)))

    @staticmethod
    def values(critic: nn.ModuleList, s: torch.Tensor, a: torch.Tensor, history: torch.Tensor) -> list[torch.Tensor]:
        x = torch.cat([s, a, critic[0](history)[1][0]], dim=-1)
        return [critic[1](x)[:, 0], critic[2](x)[:, 0]]

    def update(self, batch: TD3Batch, noise: torch.Tensor, number: int, weights: torch.Tensor | None = None) -> None:
        s, a, r, s_next, d, h, h_next = (getattr(batch, name)[0] for name in batch.__dataclass_fields__)
        weights = torch.ones(B, dtype=torch.float64) if weights is None else weights
        with torch.no_grad():
            a_next = self.act(self.target_actor, s_next, h_next) + (CONFIG.target_noise * noise[0]).clamp(-0.5, 0.5)
            q_next = torch.minimum(*self.values(self.target_critic, s_next, a_next.clamp(-1, 1), h_next))
            y = r + CONFIG.discount * (1 - d) * q_next
        loss = sum((weights * (q - y) ** 2).mean() for q in self.values(self.critic, s, a, h))
        self.critic_adam.zero_grad()
        loss.backward()
        self.critic_adam.step()
        if number % CONFIG.policy_frequency == 0:
            loss = -(weights * self.values(self.critic, s, self.act(self.actor, s, h), h)[0]).mean()
            self.actor_adam.zero_grad()
            loss.backward()
            self.actor_adam.step()
            for target, trained in ((self.target_actor, self.actor), (self.target_critic, self.critic)):
                for old, new in zip(target.parameters(), trained.parameters(), strict=True):
                    old.data = (1 - CONFIG.tau) * old.data + CONFIG.tau * new.data


def assert_equal(learner: TD3, plain: Plain, batch: TD3Batch) -> None:
    """Actor, critics and targets compute the same."""
    s, a, h = batch.observations, batch.actions, batch.histories
    for networks, actor, critic in (
        (learner.networks, plain.actor, plain.critic),
        (learner.targets, plain.target_actor, plain.target_critic),
    ):
        torch.testing.assert_close(networks.actor(s, networks.actor.encode(h))[0], plain.act(actor, s[0], h[0]))
        values = networks.critic(s, a, networks.critic.encode(h))
        for value, expected in zip(values, plain.values(critic, s[0], a[0], h[0]), strict=True):
            torch.testing.assert_close(value[0], expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_updates_equal_plain_torch(weighted):
    learner = make(1)
    plain = Plain(learner.networks)
    weights = torch.linspace(0, 2, B, dtype=torch.float64) if weighted else None
    for number in range(1, 6):
        batch, noise = random_batch(1, number)
        pull = torch.zeros(1, dtype=torch.float64)
        weighting = None if weights is None else Weighting(weights[None], pull, learner.networks.copies(1))
        learner.update(batch, noise, weighting)
        plain.update(batch, noise, number, weights)
        assert_equal(learner, plain, batch)


def test_tasks_do_not_touch_each_other():
    """K tasks updated together end where each ends alone, whatever the others' data are."""
    together = make(3)
    alone = [make(1) for _ in range(3)]
    for number in range(4):
        batches = [random_batch(1, 10 * number + task) for task in range(3)]
        joined = TD3Batch(
            *(torch.cat([getattr(b, name) for b, _ in batches]) for name in TD3Batch.__dataclass_fields__)  # (K, …)
        )
        together.update(joined, torch.cat([noise for _, noise in batches]))
        for learner, (batch, noise) in zip(alone, batches, strict=True):
            learner.update(batch, noise)
    for task, learner in enumerate(alone):
        for mine, theirs in zip(together.networks.parameters(), learner.networks.parameters(), strict=True):
            torch.testing.assert_close(mine[task], theirs[0])


def test_proximal_term_is_the_gradient_of_its_square(monkeypatch):
    """The gradient handed to Adam equals that of loss + λ‖θ − θ_meta‖², by autograd."""
    learner, anchor = make(2), make(2, seed=1).networks
    batch, noise = random_batch(2, 5)
    weights, pull = torch.rand(2, B, dtype=torch.float64), torch.tensor([0.3, 0.8], dtype=torch.float64)
    critic = learner.networks.critic
    first, second = critic(batch.observations, batch.actions, critic.encode(batch.histories))
    wanted = learner._target_values(batch, noise)
    errors = (first - wanted).square() + (second - wanted).square()
    loss = (weights * errors).mean(dim=-1).sum()
    for parameter, fixed in zip(critic.parameters(), anchor.critic.parameters(), strict=True):
        loss = loss + (pull * (parameter - fixed.detach()).square().flatten(1).sum(dim=1)).sum()
    expected = torch.autograd.grad(loss, list(critic.parameters()))
    monkeypatch.setattr(learner.critic_optimiser, "step", lambda: None)
    learner.update(batch, noise, Weighting(weights, pull, anchor))
    for parameter, gradient in zip(critic.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_time_limits_bootstrap_and_ends_do_not():
    learner = make(1)
    batch, noise = random_batch(1, 3)
    targets = learner._target_values(batch, noise)
    ended = batch.terminated == 1
    torch.testing.assert_close(targets[ended], batch.rewards[ended])
    assert ((targets - batch.rewards)[~ended].abs() > 1e-6).all()


def test_tensors_restore_a_learner_exactly():
    first, second = make(1), make(1, seed=9)
    for number in range(3):
        first.update(*random_batch(1, number))
    second.load(first.tensors(), first.updates)
    for number in range(3, 6):
        first.update(*random_batch(1, number))
        second.update(*random_batch(1, number))
    left, right = first.tensors(), second.tensors()
    assert left.keys() == right.keys()
    assert {name.split(".")[0] for name in left} == {"model", "target", "optimiser"}
    for name, tensor in left.items():
        np.testing.assert_array_equal(tensor, right[name], name)


def test_initial_weights_are_distributed_as_torchs():
    sizes = MQLConfig(hidden_sizes=(200, 200), context_size=50)
    networks = Networks.initial(SPEC, sizes, np.random.SeedSequence(3))
    hidden, again = (head[2].weight for head in networks.critic.heads)
    for weight, bound in ((hidden, 1 / np.sqrt(200)), (networks.actor.context.weight_hidden, 1 / np.sqrt(50))):
        assert weight.abs().max() <= bound
        assert abs(float(weight.detach().std()) - bound / np.sqrt(3)) < 0.01 * bound
    assert not torch.equal(hidden, again)  # the heads differ
