"""PPO (Schulman et al., 2017, equation 9) as a source of learning histories, on Stable-Baselines3."""

from __future__ import annotations

import warnings
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from icrl_plugins.sources.hyperparameters import PPOConfig
from icrl_plugins.sources.stable_baselines3.source import FUSED_ADAM, Sb3Config, Sb3Source


class Sb3PPOConfig(PPOConfig, Sb3Config):
    """PPO's hyper-parameters."""


class Sb3PPO(Sb3Source):
    """Proximal policy optimisation with a clipped ratio.

    The Gaussian is unbounded, so its samples are clipped to [-1, 1] before they are executed and recorded. Steps at the
    end of training that don't fill a whole rollout are recorded but not learnt from.
    """

    Config = Sb3PPOConfig
    policy_type = ActorCriticPolicy
    config: Sb3PPOConfig

    def __init__(self, config: Sb3PPOConfig) -> None:
        self.config = config

    def steps_per_update(self) -> int:
        return self.config.rollout_length

    def policy_arguments(self) -> dict[str, Any]:
        sizes = list(self.config.hidden_sizes)
        return {
            "net_arch": {"pi": sizes, "vf": sizes},
            "log_std_init": self.config.log_std_init,
            "optimizer_kwargs": {**FUSED_ADAM, "eps": 1e-5},  # the library's own epsilon for PPO
        }

    def build_model(self, vector_environment: VecEnv, seed: int) -> PPO:
        config = self.config
        with warnings.catch_warnings():
            # A truncated last minibatch is documented at `batch_size`; the published 64 doesn't divide 2,500.
            warnings.filterwarnings("ignore", message="You have specified a mini-batch size")
            return PPO(
                self.policy_type,
                vector_environment,
                learning_rate=config.schedule(),
                n_steps=config.rollout_length,
                batch_size=config.batch_size,
                n_epochs=config.num_epochs,
                gamma=config.discount,
                gae_lambda=config.gae_lambda,
                clip_range=config.clip_range,
                ent_coef=config.entropy_coefficient,
                vf_coef=config.value_coefficient,
                max_grad_norm=config.max_grad_norm,
                policy_kwargs=self.policy_arguments(),
                seed=seed,
                device="cpu",
            )
