"""The hyper-parameters that every method has that learns in the context of a sequence model."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from icrl_plugins.training.loop import LoopConfig
from icrl_plugins.training.optimisation import OptimisationConfig


class InContextConfig(OptimisationConfig, LoopConfig):
    """What is seen (context, layout), how it is sampled from the histories, how long training lasts, how it explores."""

    # Windows
    context_length: int | Literal["full"] = Field(
        "full",
        description="Environment steps in a context; full: all of the episodes that are chosen for it.",
    )
    history_from: float = Field(
        0.0, ge=0, lt=1, description="Share of a history's episodes, from its begin, that windows leave out."
    )
    episode_sampling: Literal["stride", "random"] = Field(
        "stride", description="Which episodes a window holds: one of every episode_stride, or random ones."
    )
    episode_stride: int = Field(10, ge=1, description="Keep one of every this many episodes of a history (k).")
    episodes_per_window: int | None = Field(
        None, ge=1, description="Episodes in a window; none: as many as one of every episode_stride gives."
    )
    window_order: Literal["learning", "return"] = Field(
        "learning", description="Episodes of a window in the order in which the source played them, or by their return."
    )
    opening_until: float | None = Field(
        None, gt=0, le=1, description="Windows open with an episode from this first share of a history; none: with any."
    )
    start_share: float = Field(
        0.25, ge=0, le=1, description="Share of windows that begin where a history begins (full contexts all do)."
    )
    token_noise: float = Field(0.05, ge=0, description="Std of Gaussian noise on normalised input tokens in training.")
    token_mask: float = Field(
        0.0, ge=0, lt=1, description="Share of training tokens whose step before (s, a, r) is hidden."
    )
    reward_scale: float | None = Field(
        None, gt=0, description="Rewards are multiplied by this; none: by what reward_normalisation fits."
    )
    reward_normalisation: Literal["root_mean_square", "standardise"] = Field(
        "root_mean_square",
        description="Scale the training rewards to a mean square of 1, or shift them to mean 0 and scale them to std 1.",
    )

    # Model
    token_layout: Literal["transition", "three"] = Field(
        "transition", description="One token per environment step, or three (action, reward, observation)."
    )
    episode_start_flag: bool = Field(False, description="Tell the model at which tokens an episode starts.")
    embedder: Literal["parts", "joint"] = Field(
        "parts", description="Embed each part of a token linearly, or the whole token by two layers."
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout on the token embeddings.")

    # Training
    batch_size: int = Field(16, ge=1, description="Windows per update.")
    updates: int | None = Field(1000, ge=1, description="Gradient updates; none: given by epochs.")
    epochs: float | None = Field(
        None, gt=0, description="Passes over the tokens of all histories at one phase, instead of updates."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16: autocast in training, with float32 parameters."
    )

    # In an unseen task
    context_overflow: Literal["backbone", "rebuild"] = Field(
        "backbone",
        description="Past the trained context: leave it to the backbone, or rebuild from its newest half.",
    )
    restarts: int = Field(
        0,
        ge=0,
        description="Rounds of one random episode and one attempt in the context of it alone; from then on every episode "
        "begins in the context of the best attempt. 0: one context, without random episodes.",
    )
    restart_std: float = Field(0.4, gt=0, description="Std of the actions of random episodes, Gaussian around zero.")
    execution_noise: float = Field(0.0, ge=0, description="Std of Gaussian noise on executed actions while adapting.")
    execution_noise_episodes: float | None = Field(
        None, gt=0, description="Full episodes over which that noise falls linearly to nothing; none: it never ends."
    )
    execution_noise_hold: int = Field(1, ge=1, description="Steps for which one draw of that noise is held.")

    @field_validator("context_length", mode="before")
    @classmethod
    def _none_means_full(cls, value: Any) -> Any:
        return "full" if value is None else value

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.context_length != "full" and self.context_length < 1:
            raise ValueError("context_length must be at least 1, or full")
        if self.episode_sampling == "random" and self.episodes_per_window is None:
            raise ValueError("episode_sampling=random needs episodes_per_window, for example 4")
        if self.opening_until is not None and self.episode_sampling != "random":
            raise ValueError("opening_until is for random episodes: set episode_sampling=random")
        if self.token_layout == "three" and self.embedder == "joint":
            raise ValueError("embedder=joint embeds a whole transition: set token_layout=transition")
        if self.reward_scale is not None and self.reward_normalisation == "standardise":
            raise ValueError("reward_normalisation=standardise fits the scale: set reward_scale to none")
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
