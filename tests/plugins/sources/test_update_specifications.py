"""The updates with written-out gradients against their specification: plain autograd from the same state, same numbers.

That the specification is the algorithm of the paper's reference implementation is shown elsewhere, as the same updates are
held to stable-baselines3's.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from icrl_plugins.randomness.task_streams import TaskStreams
from icrl_plugins.sources.population.droq import DroQLearner, PopulationDroQConfig, droq_update
from icrl_plugins.sources.population.ppo import (
    ADAM_EPSILON,
    PopulationPPOConfig,
    PPOLearner,
    PPOMinibatch,
    PPONetworks,
    ppo_update,
)
from icrl_plugins.sources.population.sac import (
    PopulationSACConfig,
    SACBatch,
    SACLearner,
    SACNetworks,
    sac_update,
)
from icrl_plugins.sources.recording import TransitionColumns
from icrl_registry.contracts import EnvironmentSpec

TASKS, BATCH, RATE = 3, 24, 1e-2
SPEC = EnvironmentSpec("sample-v1", observation_size=5, action_size=2, horizon=10)
COLUMNS = TransitionColumns(5, 2)
SEEDS = [np.random.SeedSequence(seed) for seed in range(TASKS)]
SETTINGS: dict[str, Any] = {"hidden_sizes": (12, 9), "batch_size": BATCH, "learning_rate": RATE, "reward_scale": 0.5}


def adam(parameters: Any, epsilon: float = 1e-8) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=RATE, eps=epsilon)


def sac_networks(learner: SACLearner) -> tuple[SACNetworks, TaskStreams]:
    """A copy of the learner's networks, whose dropout draws from a copy of its streams, and these streams."""
    networks, streams = copy.deepcopy((learner.networks, learner.streams))
    actor, critics = networks.actor, networks.critics
    temperature = networks.log_temperature
    optimisers = adam(actor.parameters()), adam(critics.parameters()), adam([temperature])
    return SACNetworks(actor, critics, networks.targets, temperature, *optimisers), streams


def transitions(generator: torch.Generator) -> torch.Tensor:
    """(K, B, columns), some of them terminal."""
    batch = torch.randn(TASKS, BATCH, COLUMNS.width, generator=generator)
    batch[..., COLUMNS.actions] = batch[..., COLUMNS.actions].tanh()
    batch[..., COLUMNS.terminated] = (torch.rand(TASKS, BATCH, generator=generator) < 0.2).float()
    return batch


def sac_batch(rows: torch.Tensor, noise: torch.Tensor) -> SACBatch:
    return SACBatch(
        rows[..., COLUMNS.observations],
        rows[..., COLUMNS.actions],
        rows[..., COLUMNS.next_observations],
        rows[..., COLUMNS.reward, None],
        rows[..., COLUMNS.terminated, None],
        noise[:, 0],
        noise[:, 1],
    )


@pytest.mark.parametrize("name", ["sac", "droq"])
def test_an_update_of_sac_or_droq_is_its_specification(name: str):
    """Three steps; DroQ's with dropout, whose masks come from equal streams, and a policy delay of two."""
    if name == "sac":
        learner = SACLearner(SPEC, PopulationSACConfig(**SETTINGS), 1000, SEEDS)
    else:
        config = PopulationDroQConfig(**SETTINGS, dropout=0.2, policy_delay=2)
        learner = DroQLearner(SPEC, config, 1000, SEEDS)
    networks, streams = sac_networks(learner)
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 4):
        before = copy.deepcopy(learner.networks)
        rows = transitions(generator)
        noise = streams.normal(2, BATCH, 2)
        if name == "sac":
            losses = sac_update(networks, sac_batch(rows, noise), learner.config, learner.target_entropy)
        else:
            losses = droq_update(networks, sac_batch(rows, noise), learner.config, learner.target_entropy, step)
        learner.update(rows, COLUMNS)
        assert set(losses) == ({"critics"} if name == "droq" and step % 2 else {"temperature", "critics", "policy"})
        for part in ("actor", "critics", "targets"):
            moved = assert_close(getattr(learner.networks, part), getattr(networks, part), getattr(before, part))
            assert moved == (part != "actor" or "policy" in losses)
        torch.testing.assert_close(learner.log_temperature, networks.log_temperature, rtol=0, atol=1e-6)
    assert learner.streams.state() == streams.state()  # the same numbers were drawn


def assert_close(found: nn.Module, expected: nn.Module, before: nn.Module) -> bool:
    """Whether the parameters moved, all as they should: Adam's step has the size of the rate whatever the gradient's."""
    moved = False
    for mine, theirs, old in zip(found.parameters(), expected.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(mine.detach(), theirs.detach(), rtol=1e-4, atol=RATE * 1e-2)
        moved |= not torch.equal(mine, old)
    return moved


def test_an_update_of_ppo_is_its_specification():
    """Four minibatches, of which the ratio's clip and the gradient's norm both bind."""
    settings = SETTINGS | {"max_grad_norm": 0.3, "entropy_coefficient": 0.02, "clip_range": 0.1}
    learner = PPOLearner(SPEC, PopulationPPOConfig(**settings, log_std_init=-0.3), 1000, SEEDS)
    policy, value = copy.deepcopy((learner.policy, learner.value))
    log_std = nn.Parameter(learner.log_std.detach().clone())
    optimiser = adam([log_std, *policy.parameters(), *value.parameters()], ADAM_EPSILON)
    networks = PPONetworks(policy, value, log_std, optimiser)
    generator = torch.Generator().manual_seed(0)
    for step in range(4):
        observations = torch.randn(TASKS, BATCH, 5, generator=generator)
        actions = torch.randn(TASKS, BATCH, 2, generator=generator)
        advantages, returns = torch.randn(2, TASKS, BATCH, 1, generator=generator)
        returns *= (1, 30)[step % 2]  # a norm that binds for value and policy together
        with torch.no_grad():
            density = torch.distributions.Normal(policy(observations), log_std.exp()).log_prob(actions).sum(-1, True)
        density += 0.2 * torch.randn(density.shape, generator=generator)  # the policy that acted was another one
        minibatch = PPOMinibatch(observations, actions, density, advantages, returns)
        before = copy.deepcopy(learner.policy)
        losses = ppo_update(networks, minibatch, learner.config)
        learner.update(torch.cat(minibatch, dim=-1))
        assert set(losses) == {"policy", "value", "entropy"}
        assert assert_close(learner.policy, policy, before)
        assert_close(learner.value, value, value)
        torch.testing.assert_close(learner.log_std.detach(), log_std.detach(), rtol=0, atol=RATE * 1e-2)
