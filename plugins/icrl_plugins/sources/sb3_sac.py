"""SAC (Haarnoja et al., 2018, with a learnt temperature) as a source of learning histories, on Stable-Baselines3."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.sac.policies import SACPolicy

from icrl_plugins.sources.sb3_training import FUSED_ADAM, Sb3Config, Sb3Source


class Sb3SACConfig(Sb3Config):
    """SAC's hyper-parameters. The defaults take one gradient step per step of the five environments together."""

    total_steps: int = Field(100_000, ge=1, description="environment steps per task, over all parallel environments")
    buffer_size: int = Field(1_000_000, ge=1, description="transitions that the replay buffer holds")
    learning_starts: int = Field(
        400, ge=0, description="environment steps, over all parallel ones, with uniform random actions"
    )
    train_frequency: int = Field(1, ge=1, description="steps of every environment between two updates")
    gradient_steps: int = Field(1, ge=1, description="gradient steps per update")
    tau: float = Field(0.005, gt=0, le=1, description="step of the target networks towards the critics")
    initial_temperature: float = Field(
        1.0,
        gt=0,
        description="first value of the learnt weight of the entropy; small rewards learn sooner with a small one",
    )
    target_entropy: float | None = Field(
        None, description="entropy that the temperature aims for; none: minus the action size"
    )


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
