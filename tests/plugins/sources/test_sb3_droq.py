"""DroQ's four differences from SAC, each by itself, and SAC where all of them are switched off."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from icrl_plugins.sources.stable_baselines3.droq import DroQAlgorithm, DroQPolicy, Sb3DroQ, Sb3DroQConfig

ARGUMENTS = {"seed": 3, "learning_starts": 40, "batch_size": 16, "gradient_steps": 2, "device": "cpu"}


def trained(algorithm_type, policy_type, environment, task, policy_kwargs, steps=160, **arguments):
    vector = DummyVecEnv([lambda: environment.make(task)] * 2)
    policy_kwargs = {"net_arch": [16, 16], **policy_kwargs}
    model = algorithm_type(policy_type, vector, policy_kwargs=policy_kwargs, **ARGUMENTS, **arguments)
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model.learn(steps)


class MinimumDroQ(DroQAlgorithm):
    def reduce_critics(self, q_values):
        return q_values.min(dim=1, keepdim=True).values


def test_without_its_four_differences_it_is_sac_bit_for_bit(point, task):
    sac = trained(SAC, SACPolicy, point(), task, {})
    plain = {"dropout": 0.0, "layer_norm": False}
    droq = trained(MinimumDroQ, DroQPolicy, point(), task, plain, policy_delay=1)
    expected, actual = sac.policy.state_dict(), droq.policy.state_dict()
    assert expected.keys() == actual.keys()
    for name, values in expected.items():
        assert torch.equal(values, actual[name]), name
    assert torch.equal(sac.log_ent_coef, droq.log_ent_coef)
    assert sac._n_updates == droq._n_updates > 100
    # and each difference is one: the mean alone already changes the networks
    mean = trained(DroQAlgorithm, DroQPolicy, point(), task, plain, policy_delay=1)
    assert not torch.equal(mean.policy.state_dict()["actor.mu.weight"], expected["actor.mu.weight"])


@pytest.fixture
def droq(point, task):
    return trained(DroQAlgorithm, DroQPolicy, point(), task, {"dropout": 0.2}, policy_delay=2)


def test_critics_are_linear_dropout_norm_relu_and_the_actor_is_plain(droq):
    kinds = [nn.Linear, nn.Dropout, nn.LayerNorm, nn.ReLU] * 2 + [nn.Linear]
    for critic in (droq.critic, droq.critic_target):
        for network in critic.q_networks:
            assert [type(layer) for layer in network] == kinds
            assert network[1].p == 0.2
            assert network[2].normalized_shape == (16,)
        assert list(critic.q_networks) == [critic.qf0, critic.qf1]
    assert not [module for module in droq.actor.modules() if isinstance(module, nn.Dropout | nn.LayerNorm)]
    optimised = {id(parameter) for group in droq.critic.optimizer.param_groups for parameter in group["params"]}
    assert optimised == {id(parameter) for parameter in droq.critic.parameters()}


def test_dropout_is_active_in_the_target_while_training_and_off_while_acting(droq, monkeypatch):
    batch = droq.replay_buffer.sample(32)
    temperature = torch.tensor(0.1)
    seen = []
    original = DroQAlgorithm.target_q_values

    def spy(self, *arguments):
        seen.append((self.critic_target.training, self.critic.training))
        first, second = (original(self, *fixed_actions(self, arguments)) for _ in range(2))
        assert not torch.equal(first, second)
        return first

    def fixed_actions(self, arguments):
        torch.manual_seed(0)  # the same next actions twice; the masks are drawn after them, so skip a few numbers
        torch.rand(len(seen))
        return arguments

    droq.policy.set_training_mode(False)
    monkeypatch.setattr(droq.actor, "action_log_prob", lambda observations: (torch.zeros(32, 1), torch.zeros(32)))
    assert torch.equal(original(droq, batch, temperature), original(droq, batch, temperature))
    droq.policy.set_training_mode(True)
    assert not torch.equal(original(droq, batch, temperature), original(droq, batch, temperature))
    monkeypatch.undo()
    seen.clear()
    monkeypatch.setattr(
        DroQAlgorithm,
        "target_q_values",
        lambda self, *a: (seen.append(self.critic_target.training), original(self, *a))[1],
    )
    droq.train(gradient_steps=3, batch_size=16)
    assert seen == [True, True, True]
    droq.predict(np.zeros((1, 1), np.float32), deterministic=True)
    assert not any(module.training for module in droq.policy.modules() if isinstance(module, nn.Dropout))


def test_policy_and_temperature_wait_for_the_critics(droq, monkeypatch):
    updates = []
    for name in ("_update_critics", "_update_policy", "_update_temperature"):
        original = getattr(droq, name)
        monkeypatch.setattr(droq, name, lambda *a, _n=name, _o=original: (updates.append(_n), _o(*a))[1])
    droq._n_updates = 0
    droq.policy_delay = 3
    actor = [parameter.clone() for parameter in droq.actor.parameters()]
    target = [parameter.clone() for parameter in droq.critic_target.parameters()]
    droq.train(gradient_steps=2, batch_size=16)
    assert updates == ["_update_critics"] * 2
    assert all(torch.equal(old, new) for old, new in zip(actor, droq.actor.parameters(), strict=True))
    assert any(not torch.equal(old, new) for old, new in zip(target, droq.critic_target.parameters(), strict=True))
    droq.train(gradient_steps=1, batch_size=16)
    assert updates[2:] == ["_update_temperature", "_update_critics", "_update_policy"]
    assert any(not torch.equal(old, new) for old, new in zip(actor, droq.actor.parameters(), strict=True))


def test_the_policy_maximises_the_mean_of_the_critics(droq):
    q_values = torch.tensor([[1.0, 3.0], [-2.0, 0.0]])
    assert torch.equal(droq.reduce_critics(q_values), torch.tensor([[2.0], [-1.0]]))


@pytest.mark.parametrize(("settings", "delay"), [({}, 3), ({"gradient_steps": 4}, 4), ({"policy_delay": 1}, 1)])
def test_one_policy_step_per_update_unless_told_otherwise(settings, delay):
    source = Sb3DroQ(Sb3DroQConfig(**settings))
    assert source.algorithm_arguments() == {"policy_delay": delay}


def test_settings_reach_the_algorithm(point, task):
    config = Sb3DroQConfig(
        dropout=0.05, layer_norm=False, target_entropy=-4.0, hidden_sizes=(8,), total_steps=50, initial_temperature=0.3
    )
    model = Sb3DroQ(config).build_model(DummyVecEnv([lambda: point().make(task)]), seed=0)
    assert [type(layer) for layer in model.critic_target.qf1] == [nn.Linear, nn.Dropout, nn.ReLU, nn.Linear]
    assert model.critic.qf0[1].p == 0.05
    assert model.target_entropy == -4.0
    assert model.log_ent_coef.exp().item() == pytest.approx(0.3)
