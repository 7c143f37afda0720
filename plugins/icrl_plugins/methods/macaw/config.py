"""The hyper-parameters of MACAW."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from icrl_plugins.training.loop import LoopConfig
from icrl_plugins.training.optimisation import OptimisationConfig


class MACAWConfig(OptimisationConfig, LoopConfig):
    """Networks, inner step, meta-training and what happens in an unseen task.

    The defaults are the published values wherever one exists; what the published code does and this does not by default
    is named in the field's line.
    """

    # Networks
    hidden_size: int = Field(100, ge=1, description="Width of the hidden layers.")
    num_layers: int = Field(3, ge=1, description="Hidden layers of the value network and of the policy's trunk.")
    weight_transform: bool = Field(
        True, description="Generate every layer's weights from a latent vector (published ablation: false, width 725)."
    )
    latent_size: int = Field(100, ge=1, description="Size of the latent vector of a weight-transform layer.")
    advantage_head: bool = Field(True, description="Let the inner policy loss regress the advantage too.")
    advantage_hidden_size: int = Field(32, ge=1, description="Width of the advantage head's hidden layer.")
    policy_std: float = Field(0.2, gt=0, description="Fixed standard deviation of the Gaussian policy.")

    # Inner step and losses
    inner_steps: int = Field(
        1, ge=1, description="Gradient steps of an adaptation of each network, each on its own share of the batch."
    )
    initial_rate: float = Field(1e-3, gt=0, description="Inner learning rate of every tensor before it is learned.")
    initial_coefficient: float = Field(
        0.01, gt=0, description="Weight of the advantage regression before it is learned."
    )
    discount: float = Field(0.99, gt=0, lt=1, description="Discount of returns-to-go and bootstraps.")
    temperature: float = Field(1.0, gt=0, description="Advantages are divided by this and their standard deviation.")
    weight_clip: float = Field(20.0, gt=1, description="Largest exponential advantage weight.")
    advantage_epsilon: float = Field(1e-8, gt=0, description="Added to the advantages' standard deviation.")
    target_update: float = Field(
        0.1, ge=0, le=1, description="Share of the adapted value network in a task's bootstrap target."
    )

    # Data
    tasks_per_update: int = Field(5, ge=1, description="Tasks of a meta-batch, drawn without replacement.")
    inner_batch_size: int = Field(256, ge=2, description="Transitions of an inner step.")
    outer_batch_size: int = Field(256, ge=2, description="Transitions of an outer loss.")
    inner_sampling: Literal["contiguous", "uniform"] = Field(
        "contiguous", description="Inner batches in training: one block of a history, or single transitions."
    )
    inner_from: float = Field(0.0, ge=0, lt=1, description="Inner batches come from the episodes after this share …")
    inner_to: float = Field(1.0, gt=0, le=1, description="… and before this share of a history.")
    inner_max_discount_to_end: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Leave out of inner batches what is so near a cut that discount^(steps left) is more.",
    )
    history_stride: int = Field(1, ge=1, description="Keep every n-th transition (published: 7, of larger histories).")
    observation_normalisation: bool = Field(
        True, description="Standardise observations by the training histories (published: false)."
    )
    reward_scale: float | None = Field(
        None,
        gt=0,
        description="Rewards are multiplied by this; none: by 1 / root mean square of the returns-to-go (published: 1).",
    )

    # Meta-training
    learning_rate: float = Field(1e-4, gt=0, description="Outer learning rate of the policy.")
    value_learning_rate: float = Field(1e-5, gt=0, description="Outer learning rate of the value network.")
    rate_learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the inner rates and the coefficient.")
    betas: tuple[float, float] = Field((0.9, 0.999), description="Decay rates of Adam's two moment estimates.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of the networks' matrices.")
    gradient_clip: float | None = Field(
        None, gt=0, description="Largest norm of the whole gradient; none: no clipping."
    )
    warmup_fraction: float = Field(
        0.0, ge=0, lt=1, description="Share of the updates over which the rates rise linearly."
    )
    final_learning_rate_fraction: float = Field(
        1.0, ge=0, le=1, description="The cosine's floor, as a share of the peak; 1: constant rates."
    )
    updates: int = Field(10_000, ge=1, description="Meta-updates (published: up to 1,000,000).")
    checkpoint_every: int = Field(1000, ge=1, description="Meta-updates between saved progress.")

    # In an unseen task
    adaptation_batch_size: int = Field(256, ge=2, description="Transitions of the adaptation to an unseen task.")
    offline_sampling: Literal["contiguous", "uniform"] = Field(
        "uniform", description="Offline track: which part of the given history the batch is."
    )
    exploration: Literal["policy", "random"] = Field(
        "policy", description="Online track, before adapting: the meta-policy with its noise, or uniform actions."
    )
    collect_episodes: int | None = Field(
        None,
        ge=1,
        description="Online track: episodes before adapting; none: until the batch is full, at most half the budget.",
    )
    online_sampling: Literal["latest", "uniform"] = Field(
        "uniform", description="Online track: the batch is the newest transitions, or drawn from all so far."
    )
    online_adaptation: Literal["once", "every_episode"] = Field(
        "once", description="Online track: adapt once, or anew from the meta-parameters after every episode."
    )

    finetune: bool = Field(False, description="After adapting, go on with gradient updates on the agent's own data.")
    finetune_burn_in: int = Field(
        1, ge=0, description="Updates begin after the second episode beyond this many since adapting (published: 25)."
    )
    finetune_value_updates: int = Field(100, ge=0, description="Value updates after each episode of fine-tuning.")
    finetune_policy_updates: int = Field(200, ge=0, description="Policy updates after each episode of fine-tuning.")
    finetune_learning_rate: float = Field(1e-5, gt=0, description="Adam's learning rate in fine-tuning.")
    finetune_noise: float = Field(0.2, ge=0, description="Standard deviation of the noise on actions in fine-tuning.")

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.finetune and self.online_adaptation == "every_episode":
            raise ValueError("finetune goes on from one adaptation: set online_adaptation to once")
        if 2 * self.inner_steps > min(self.inner_batch_size, self.adaptation_batch_size):
            raise ValueError("each of inner_steps needs two transitions of its own: raise the batch sizes, or lower it")
        if self.inner_from >= self.inner_to:
            raise ValueError("inner_from must be below inner_to")
        return self
