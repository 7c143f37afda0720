"""DroQ (Hiraoka et al., 2022, algorithm 2) as a source of learning histories, on Stable-Baselines3's SAC.

DroQ is SAC with dropout and layer normalisation in its critics, which lets them take several gradient steps for every step
of the policy. Four things differ from SAC and are overridden here:

1. each hidden layer of a critic is Linear → Dropout → LayerNorm → ReLU (`DroQCritic`);
2. dropout is active in the target critics too while training, with fresh masks at each evaluation (`DroQPolicy`);
3. most gradient steps update the critics alone; policy and temperature follow every `policy_delay` of them (`DroQ.train`);
4. the policy maximises the mean of the critics, not their minimum (`DroQ.reduce_critics`).

Without dropout and normalisation, with a delay of 1 and with the minimum, it is SAC bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from stable_baselines3 import SAC
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from icrl_plugins.sources.hyperparameters import DroQConfig
from icrl_plugins.sources.stable_baselines3.sac import Sb3SAC, Sb3SACConfig


class DroQCritic(ContinuousCritic):
    """Q-functions whose hidden layers are Linear → Dropout → LayerNorm → ReLU."""

    def __init__(self, *args: Any, dropout: float, layer_norm: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for index, network in enumerate(self.q_networks):
            # The parent's linear layers are kept, so that the initial weights are those that SAC would draw.
            assert isinstance(network, nn.Sequential)
            self.q_networks[index] = _with_dropout_and_norm(network, dropout, layer_norm)
            self.add_module(f"qf{index}", self.q_networks[index])


def _with_dropout_and_norm(network: nn.Sequential, dropout: float, layer_norm: bool) -> nn.Sequential:
    *hidden, output = network
    layers: list[nn.Module] = []
    for layer in hidden:
        layers.append(layer)
        if isinstance(layer, nn.Linear):
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            if layer_norm:
                layers.append(nn.LayerNorm(layer.out_features))
    return nn.Sequential(*layers, output)


class DroQPolicy(SACPolicy):
    """SAC's actor, DroQ's critics, and target critics that follow the training mode."""

    def __init__(self, *args: Any, dropout: float = 0.01, layer_norm: bool = True, **kwargs: Any) -> None:
        # Set first, because the parent's constructor already builds the critics.
        self.dropout = dropout
        self.layer_norm = layer_norm
        super().__init__(*args, **kwargs)

    def make_critic(self, features_extractor: Any = None) -> DroQCritic:
        arguments = self._update_features_extractor(self.critic_kwargs, features_extractor)
        return DroQCritic(**arguments, dropout=self.dropout, layer_norm=self.layer_norm).to(self.device)

    def set_training_mode(self, mode: bool) -> None:
        """Switches the target critics too: SAC leaves them without dropout for ever."""
        super().set_training_mode(mode)
        self.critic_target.set_training_mode(mode)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "dropout": self.dropout, "layer_norm": self.layer_norm}


class DroQAlgorithm(SAC):
    """SAC whose policy and temperature are updated at every `policy_delay`-th gradient step of the critics."""

    policy: DroQPolicy
    log_ent_coef: torch.Tensor  # the temperature is always learnt here
    ent_coef_optimizer: torch.optim.Adam
    target_entropy: float

    def __init__(self, *args: Any, policy_delay: int = 3, **kwargs: Any) -> None:
        self.policy_delay = policy_delay
        super().__init__(*args, **kwargs)

    def reduce_critics(self, q_values: torch.Tensor) -> torch.Tensor:
        """(B, number of critics) → (B, 1): what the policy maximises."""
        return q_values.mean(dim=1, keepdim=True)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """One round of gradient steps; the order of the random draws is that of SAC."""
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer, self.ent_coef_optimizer])
        for _ in range(gradient_steps):
            self._n_updates += 1
            updates_policy = self._n_updates % self.policy_delay == 0
            assert self.replay_buffer is not None
            batch = self.replay_buffer.sample(batch_size)
            temperature = self.log_ent_coef.detach().exp()
            if updates_policy:
                actions, log_prob = self.actor.action_log_prob(batch.observations)  # (B, A), (B,)
                self._update_temperature(log_prob)
            self._update_critics(batch, temperature)
            if updates_policy:
                self._update_policy(batch.observations, actions, log_prob.reshape(-1, 1), temperature)
            polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)

    def _update_temperature(self, log_prob: torch.Tensor) -> None:
        loss = -(self.log_ent_coef * (log_prob.reshape(-1, 1) + self.target_entropy).detach()).mean()
        self.ent_coef_optimizer.zero_grad()
        loss.backward()
        self.ent_coef_optimizer.step()

    def target_q_values(self, batch: Any, temperature: torch.Tensor) -> torch.Tensor:
        """y = r + γ(1 − d)·(min over the target critics − α·log π), (B, 1); dropout makes every evaluation another one."""
        with torch.no_grad():
            next_actions, next_log_prob = self.actor.action_log_prob(batch.next_observations)
            next_q_values = torch.cat(self.critic_target(batch.next_observations, next_actions), dim=1)  # (B, critics)
            soft_values = next_q_values.min(dim=1, keepdim=True).values - temperature * next_log_prob.reshape(-1, 1)
            target: torch.Tensor = batch.rewards + (1 - batch.dones) * self.gamma * soft_values
            return target

    def _update_critics(self, batch: Any, temperature: torch.Tensor) -> None:
        target = self.target_q_values(batch, temperature)
        errors = [F.mse_loss(values, target) for values in self.critic(batch.observations, batch.actions)]
        loss = 0.5 * sum(errors, torch.zeros(()))
        self.critic.optimizer.zero_grad()
        loss.backward()
        self.critic.optimizer.step()

    def _update_policy(
        self, observations: torch.Tensor, actions: torch.Tensor, log_prob: torch.Tensor, temperature: torch.Tensor
    ) -> None:
        q_values = torch.cat(self.critic(observations, actions), dim=1)  # (B, critics)
        loss = (temperature * log_prob - self.reduce_critics(q_values)).mean()
        self.actor.optimizer.zero_grad()
        loss.backward()
        self.actor.optimizer.step()


class Sb3DroQConfig(DroQConfig, Sb3SACConfig):
    """DroQ's hyper-parameters."""


class Sb3DroQ(Sb3SAC):
    """Soft actor-critic with dropout Q-functions."""

    Config = Sb3DroQConfig
    policy_type = DroQPolicy
    algorithm_type = DroQAlgorithm
    config: Sb3DroQConfig

    def __init__(self, config: Sb3DroQConfig) -> None:
        self.config = config

    def policy_arguments(self) -> dict[str, Any]:
        config = self.config
        return {**super().policy_arguments(), "dropout": config.dropout, "layer_norm": config.layer_norm}

    def algorithm_arguments(self) -> dict[str, Any]:
        return {"policy_delay": self.config.policy_delay or self.config.gradient_steps}
