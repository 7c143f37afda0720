"""The hyper-parameters of the sources: one name and one default each, whichever implementation trains."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from icrl_registry.configuration import ComponentConfig


class SourceConfig(ComponentConfig):
    """The hyper-parameters that every source has."""

    total_steps: int = Field(500_000, ge=1, description="environment steps per task, over all parallel environments")
    num_envs: int = Field(5, ge=1, description="parallel environments; each is one stream of the learning history")
    learning_rate: float = Field(1e-4, gt=0, description="Adam's step size (initial value if it decays)")
    learning_rate_schedule: Literal["constant", "linear"] = Field(
        "constant", description="constant, or linear decay to zero at the end of training"
    )
    batch_size: int = Field(256, ge=2, description="transitions per gradient step")
    discount: float = Field(0.99, ge=0, le=1, description="discount factor (gamma)")
    hidden_sizes: tuple[int, ...] = Field((256, 256), description="widths of the hidden layers of every network")
    reward_scale: float = Field(
        1.0, gt=0, description="factor on the reward that the learner sees; the history keeps the true one"
    )
    evaluation_episodes: int = Field(
        10, ge=0, description="episodes of the greedy policy after training (statistic only)"
    )
    record_policy_means: bool = Field(False, description="also store the acting policy's mean action at every step")

    @model_validator(mode="after")
    def _every_stream_gets_a_step(self) -> Self:
        if self.total_steps < self.num_envs:
            raise ValueError(f"total_steps ({self.total_steps}) must be at least num_envs ({self.num_envs})")
        return self

    @property
    def steps_per_stream(self) -> int:
        """T."""
        return self.total_steps // self.num_envs


class SACConfig(SourceConfig):
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


class DroQConfig(SACConfig):
    """DroQ's hyper-parameters. The defaults: three critic steps and one policy step per step of the five environments."""

    total_steps: int = Field(500_000, ge=1, description="environment steps per task, over all parallel environments")
    gradient_steps: int = Field(3, ge=1, description="gradient steps of the critics per update")
    policy_delay: int | None = Field(
        None, ge=1, description="critic steps per step of policy and temperature; none: one policy step per update"
    )
    dropout: float = Field(0.01, ge=0, lt=1, description="probability with which a critic's hidden unit is dropped")
    layer_norm: bool = Field(True, description="layer normalisation after the dropout")


class PPOConfig(SourceConfig):
    """PPO's hyper-parameters. The defaults train on 500,000 steps in 200 updates of 2,500 transitions."""

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
