"""MQL's adaptation against its specification written down plainly: one task after the other, `torch.nn` and scikit-learn.

Fakoor et al. 2020, algorithm 2: TD3 on the task's own transitions, then on the replay of meta-training with weights from a
logistic regression and a pull to the meta-trained parameters. Which transitions and which noise an update gets is the
package's draw and is listened to; what it makes of them is done once more here.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from icrl_plugins.methods.mql import adaptation
from icrl_plugins.methods.mql.adaptation import MetaTrained, adapt
from icrl_plugins.methods.mql.config import MQLConfig
from icrl_plugins.methods.mql.episodes import Episode, EpisodeTable
from icrl_plugins.methods.mql.networks import Networks
from icrl_plugins.methods.mql.td3 import TD3
from icrl_registry.contracts import EnvironmentSpec

from ..ledgers.ledger import Ledger, Size

Tensor = torch.Tensor
OBS, A, Z, TRAINING_TASKS, STEPS = 3, 2, 4, 3, 8
SPEC = EnvironmentSpec("plain", OBS, A, STEPS)
CHOICES: dict[str, list[Any]] = {
    "history_length": [1, 3, 12],
    "policy_frequency": [1, 2, 3],
    "tau": [0.005, 0.3],
    "discount": [0.9, 0.99],
    "target_noise": [0.0, 0.2, 0.9],
    "own_updates": [0, 3, 4],
    "replay_updates": [0, 3, 4],
    "replay_batch_multiple": [1, 2],
    "propensity_regularisation": [0.05, 1.0],
    "propensity_clip": [0.2, 1.0],
    "propensity_floor": [0.0, 0.1, 0.7],
    "propensity_features": ["context", "context_and_observation"],
    "proximal": ["ess", "fixed"],
    "proximal_coefficient": [0.1, 3.0],
}


class Plain:
    """Actor, critics and their targets of one task, in double precision."""

    def __init__(self, networks: Networks, config: MQLConfig) -> None:
        self.config, self.updates = config, 0
        heads = [plain_mlp(head) for head in networks.critic.heads]
        self.actor = nn.ModuleList([plain_gru(networks.actor.context), plain_mlp(networks.actor.mlp)])
        self.critic = nn.ModuleList([plain_gru(networks.critic.context), *heads])
        self.targets = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        self.meta = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        rate = config.adaptation_learning_rate
        self.adams = [torch.optim.Adam(each.parameters(), lr=rate) for each in (self.actor, self.critic)]

    @staticmethod
    def act(actor: nn.ModuleList, s: Tensor, history: Tensor) -> Tensor:
        return torch.tanh(actor[1](torch.cat([s, actor[0](history)[1][0]], dim=1)))

    @staticmethod
    def values(critic: nn.ModuleList, s: Tensor, a: Tensor, history: Tensor) -> list[Tensor]:
        x = torch.cat([s, a, critic[0](history)[1][0]], dim=1)
        return [critic[1](x)[:, 0], critic[2](x)[:, 0]]

    def pulled(self, loss: Tensor, network: nn.Module, meta: nn.Module, pull: float) -> Tensor:
        """The loss with the squared distance from the meta-trained parameters."""
        pairs = zip(network.parameters(), meta.parameters(), strict=True)
        return loss + pull * sum(((own - old.detach()) ** 2).sum() for own, old in pairs)

    def update(self, batch: dict[str, Tensor], noise: Tensor, weights: Tensor, pull: float) -> None:
        s, a, h, s_next = (batch[name] for name in ("observations", "actions", "histories", "next_observations"))
        config, target_actor, target_critic = self.config, *self.targets
        with torch.no_grad():
            clipped = (config.target_noise * noise).clamp(-config.target_noise_clip, config.target_noise_clip)
            a_next = (self.act(target_actor, s_next, batch["next_histories"]) + clipped).clamp(-1, 1)
            q_next = torch.minimum(*self.values(target_critic, s_next, a_next, batch["next_histories"]))
            y = batch["rewards"] + config.discount * (1 - batch["terminated"]) * q_next
        loss = sum((weights * (q - y) ** 2).mean() for q in self.values(self.critic, s, a, h))
        self.descend(1, self.pulled(loss, self.critic, self.meta[1], pull))
        self.updates += 1
        if self.updates % config.policy_frequency == 0:
            loss = -(weights * self.values(self.critic, s, self.act(self.actor, s, h), h)[0]).mean()
            self.descend(0, self.pulled(loss, self.actor, self.meta[0], pull))
            for target, trained in zip(self.targets, (self.actor, self.critic), strict=True):
                for old, new in zip(target.parameters(), trained.parameters(), strict=True):
                    old.data = (1 - config.tau) * old.data + config.tau * new.data

    def descend(self, which: int, loss: Tensor) -> None:
        self.actor.zero_grad()
        self.critic.zero_grad()
        loss.backward()
        self.adams[which].step()


def plain_gru(context: nn.Module) -> nn.GRU:
    gru = nn.GRU(A + 1 + OBS, Z).double()
    names = {"weight_ih_l0": context.weight_input, "weight_hh_l0": context.weight_hidden}
    for name, tensor in names.items():
        getattr(gru, name).data = tensor[0].T.detach().double().clone()
    for name, tensor in {"bias_ih_l0": context.bias_input, "bias_hh_l0": context.bias_hidden}.items():
        getattr(gru, name).data = tensor[0, 0].detach().double().clone()
    return gru


def plain_mlp(mlp: nn.Sequential) -> nn.Sequential:
    layers: list[nn.Module] = []
    for each in mlp:
        if isinstance(each, nn.ReLU):
            layers.append(nn.ReLU())
            continue
        linear = nn.Linear(*each.weight.shape[1:]).double()
        linear.weight.data, linear.bias.data = each.weight[0].T.detach().double(), each.bias[0, 0].detach().double()
        layers.append(linear)
    return nn.Sequential(*layers)


def episode(generator: np.random.Generator, shift: float) -> Episode:
    """Random rows (action, reward, observation); `shift` moves the rewards."""
    rows = generator.uniform(-1, 1, (STEPS + 2, A + 1 + OBS)).astype(np.float32)
    rows[:, A] += np.float32(shift)
    return Episode(rows, bool(generator.random() < 0.5))


def meta_trained(config: MQLConfig, generator: np.random.Generator) -> MetaTrained:
    replay = EpisodeTable(1000, A, A + 1 + OBS)
    for number in range(12):
        replay.add(episode(generator, number % TRAINING_TASKS), number % TRAINING_TASKS)
    networks = Networks.initial(SPEC, config, np.random.SeedSequence(int(generator.integers(1000))))
    return MetaTrained(networks, networks.copies(1), replay, TRAINING_TASKS, config)


def plain_weights(plain: Plain, batch: dict[str, Tensor], fitted: tuple[Any, Any], config: MQLConfig) -> np.ndarray:
    """β of a batch by the contexts of the meta-trained actor and a classifier fitted to `fitted`."""
    with torch.no_grad():
        features = plain.meta[0][0](batch["histories"])[1][0]
    if config.propensity_features == "context_and_observation":
        features = torch.cat([batch["observations"], features], dim=1)
    classifier = LogisticRegression(C=config.propensity_regularisation, tol=1e-10, max_iter=10_000)
    odds = classifier.fit(np.asarray(fitted[0], dtype=np.float64), fitted[1]).decision_function(features.numpy())
    weights = np.exp(-np.maximum(odds, -config.propensity_clip))
    near = np.abs(weights - config.propensity_floor) < 1e-4  # on the edge either side is right
    return np.where(near, np.nan, np.where(weights < config.propensity_floor, 0.0, weights))


def problem(config: MQLConfig, seed: int, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """How an adaptation to two tasks differs from two plain ones."""
    generator, tasks = np.random.default_rng([33, seed]), 2
    meta = meta_trained(config, generator)
    heard: list[tuple[Any, ...]] = []
    fitted: list[tuple[Any, Any]] = []
    update, fit = TD3.update, adaptation.fit_logistic_regression

    def listen(self: TD3, *given: Any) -> Any:
        heard.append(given)
        return update(self, *given)

    def listen_to_fit(features: Any, labels: Any, strength: float) -> Any:
        fitted.append((features, labels))
        return fit(features, labels, strength)

    with monkeypatch.context() as patch:
        patch.setattr(TD3, "update", listen)
        patch.setattr(adaptation, "fit_logistic_regression", listen_to_fit)
        own = [[episode(generator, 5.0 * task) for _ in range(2)] for task in range(tasks)]
        learner, _ = adapt(meta, own, [np.random.SeedSequence([seed, task]) for task in range(tasks)])
    if len(heard) != config.own_updates + config.replay_updates:
        return f"{len(heard)} updates"
    for task in range(tasks):
        plain = Plain(meta.networks, config)
        for number, (given, noise, *weighting) in enumerate(heard):
            batch = {name: getattr(given, name)[task].double() for name in given.__dataclass_fields__}
            weights, pull = np.ones(noise.shape[1]), 0.0
            if number >= config.own_updates:
                expected = plain_weights(plain, batch, fitted[task], config)
                weights = np.asarray(weighting[0].weights[task], dtype=np.float64)
                if np.nanmax(np.abs(weights - expected), initial=0.0) > 1e-3:
                    return f"task {task}: weights {weights[:5]}, not {expected[:5]}"
                squares = (weights**2).sum()
                size = weights.sum() ** 2 / (len(weights) * squares) if squares else 0.0
                pull = 1 - size if config.proximal == "ess" else config.proximal_coefficient
            plain.update(batch, noise[task].double(), torch.from_numpy(weights), pull)
        ours = Plain(cut(learner.networks, task), config)
        for mine, theirs in ((ours.actor, plain.actor), (ours.critic, plain.critic)):
            pairs = zip(mine.parameters(), theirs.parameters(), strict=True)
            worst = max(float((own - other).detach().abs().max()) for own, other in pairs)
            if worst > 1e-4:
                return f"task {task}: a parameter is off by {worst:.2g}"
    return None


def cut(networks: Networks, task: int) -> Networks:
    """One task's networks."""
    alone = copy.deepcopy(networks)
    for parameter in alone.parameters():
        parameter.data = parameter.data[task : task + 1]
    return alone


def test_adaptation_is_its_plain_specification(size: Size, ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    for seed in range(size.pick(8, 50, 500)):
        generator = np.random.default_rng([34, seed])
        settings = {name: values[generator.integers(len(values))] for name, values in CHOICES.items()}
        fixed = {"hidden_sizes": (7, 6), "context_size": Z, "batch_size": 9, "adaptation_learning_rate": 3e-3}
        ledger.note(f"mql, seed {seed}, {settings}", problem(MQLConfig(**fixed, **settings), seed, monkeypatch))
    ledger.settle()
