"""SAC (Haarnoja et al., 2018, with a learnt temperature) as a source of learning histories, on Stable-Baselines3."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.sac.policies import SACPolicy

from icrl_plugins.sources.hyperparameters import SACConfig
from icrl_plugins.sources.stable_baselines3.source import FUSED_ADAM, Sb3Config, Sb3Source


class Sb3SACConfig(SACConfig, Sb3Config):
    """SAC's hyper-parameters."""


class Sb3SAC(Sb3Source):
    """Soft actor-critic with two critics and automatic temperature."""

    Config = Sb3SACConfig
    policy_type = SACPolicy
    algorithm_type: type[SAC] = SAC
    config: Sb3SACConfig

    def __init__(self, config: Sb3SACConfig) -> None:
        self.config = config

    def steps_per_update(self) -> int:
        return self.config.train_frequency

    def policy_arguments(self) -> dict[str, Any]:
        return {"net_arch": list(self.config.hidden_sizes), "optimizer_kwargs": FUSED_ADAM}

    def algorithm_arguments(self) -> dict[str, Any]:
        """Keyword arguments of the algorithm's constructor beyond SAC's own."""
        return {}

    def build_model(self, vector_environment: VecEnv, seed: int) -> SAC:
        config = self.config
        return self.algorithm_type(
            self.policy_type,
            vector_environment,
            learning_rate=config.schedule(),
            # What training can't fill needs no memory: a larger buffer would be sampled in the same way.
            buffer_size=min(config.buffer_size, self.total_steps()),
            learning_starts=config.learning_starts,
            batch_size=config.batch_size,
            tau=config.tau,
            gamma=config.discount,
            train_freq=config.train_frequency,
            gradient_steps=config.gradient_steps,
            ent_coef=f"auto_{config.initial_temperature}",
            target_entropy="auto" if config.target_entropy is None else config.target_entropy,
            policy_kwargs=self.policy_arguments(),
            seed=seed,
            device="cpu",
            **self.algorithm_arguments(),
        )
