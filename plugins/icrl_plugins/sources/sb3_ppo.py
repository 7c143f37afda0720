"""PPO (Schulman et al., 2017, equation 9) as a source of learning histories, on Stable-Baselines3."""

from __future__ import annotations

import warnings
from typing import Any

from pydantic import Field
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from icrl_plugins.sources.sb3_training import FUSED_ADAM, Sb3Config, Sb3Source


class Sb3PPOConfig(Sb3Config):
    """PPO's hyper-parameters. The defaults train on 500,000 steps in 200 updates of 2,500 transitions."""

    learning_rate: float = Field(1e-4, gt=0, description="Adam's step size (initial value if it decays)")
    batch_size: int = Field(64, ge=2, description="transitions per minibatch; the last one of an epoch may be smaller")
    hidden_sizes: tuple[int, ...] = Field(
        (64, 64), description="hidden tanh layers of the policy, and of the value network"
    )
    rollout_length: int = Field(500, ge=1, description="steps of every environment between two updates")
    num_epochs: int = Field(10, ge=1, description="passes over the rollout per update")
    entropy_coefficient: float = Field(5e-3, ge=0, description="weight of the entropy bonus")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="lambda of generalised advantage estimation")
    clip_range: float = Field(0.2, gt=0, description="clip range of the probability ratio (epsilon)")
    value_coefficient: float = Field(0.5, ge=0, description="weight of the value loss")
    max_grad_norm: float = Field(0.5, gt=0, description="gradients are clipped to this norm")
    log_std_init: float = Field(0.0, description="initial logarithm of the Gaussian's standard deviation")


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
