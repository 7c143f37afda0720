"""The hyper-parameters of Algorithm Distillation."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from icrl_plugins.training.model_selection import ModelSelectionConfig
from icrl_plugins.training.optimisation import OptimisationConfig


class AlgorithmDistillationConfig(OptimisationConfig, ModelSelectionConfig):
    """What is seen (context, layout), how it is sampled from the histories, and how long training lasts."""

    context_length: int | Literal["full"] = Field(
        "full",
        description="Environment steps in a context; full: a whole history after keeping one of every k episodes.",
    )
    episode_stride: int = Field(10, ge=1, description="Keep one of every this many episodes of a history (k).")
    token_layout: Literal["transition", "three"] = Field(
        "transition", description="One token per environment step, or three (action, reward, observation)."
    )
    episode_start_flag: bool = Field(False, description="Tell the model at which tokens an episode starts.")
    head: Literal["linear", "tanh", "gaussian"] = Field(
        "linear",
        description="What the action head gives: actions (linear ones are clipped) for the squared error, or mean and "
        "spread for the likelihood, from which actions are drawn.",
    )
    targets: Literal["executed", "policy_means"] = Field(
        "executed", description="Regress on the executed actions, or on the source policy's means where recorded."
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout on the token embeddings.")
    token_noise: float = Field(0.05, ge=0, description="Std of Gaussian noise on normalised input tokens in training.")
    reward_scale: float | None = Field(
        None, gt=0, description="Rewards are multiplied by this; none: by 1 / root mean square of the training rewards."
    )
    start_share: float = Field(
        0.25, ge=0, le=1, description="Share of windows that begin where a history begins (full contexts all do)."
    )
    batch_size: int = Field(16, ge=1, description="Windows per update.")
    updates: int | None = Field(1000, ge=1, description="Gradient updates; none: given by epochs.")
    epochs: float | None = Field(
        None, gt=0, description="Passes over the tokens of all histories at one phase, instead of updates."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16: autocast in training, with float32 parameters."
    )
    checkpoint_every: int = Field(100, ge=1, description="Updates between saved progress.")
    context_overflow: Literal["backbone", "rebuild"] = Field(
        "backbone",
        description="Past the trained context: leave it to the backbone, or rebuild from its newest half.",
    )
    execution_noise: float = Field(0.0, ge=0, description="Std of Gaussian noise on executed actions while adapting.")

    @field_validator("context_length", mode="before")
    @classmethod
    def _none_means_full(cls, value: Any) -> Any:
        return "full" if value is None else value

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.context_length != "full" and self.context_length < 1:
            raise ValueError("context_length must be at least 1, or full")
        if self.head == "gaussian" and self.targets == "policy_means":
            raise ValueError("head gaussian learns how executed actions spread; policy_means have no spread")
        if (self.updates is None) == (self.epochs is None):
            raise ValueError("give exactly one of updates and epochs, and set the other to none")
        return self

    def num_updates(self, tokens_per_pass: int, context_length: int) -> int:
        """The updates that training takes: `updates`, or as many as `epochs` passes need, rounded up.

        A pass is as many sampled tokens (batch_size · context_length an update) as all histories hold at phase 0.
        """
        if self.updates is not None:
            return self.updates
        assert self.epochs is not None
        return max(1, math.ceil(self.epochs * tokens_per_pass / (self.batch_size * context_length)))
