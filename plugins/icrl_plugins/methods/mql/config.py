"""The hyper-parameters of Meta-Q-Learning."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from icrl_plugins.training.loop import LoopConfig
from icrl_registry.contracts import Array, FloatArray


class MQLConfig(LoopConfig):
    """Networks, TD3, meta-training on the training tasks, and the two phases of adaptation."""

    # Networks
    hidden_sizes: tuple[int, ...] = Field((300, 300), min_length=1, description="Hidden layers of actor and critics.")
    context_size: int = Field(20, ge=0, description="Width of the GRU contexts; 0: no context.")
    history_length: int = Field(20, ge=1, description="Tuples (action, reward, observation) that a context is made of.")
    dummy_action_std: float | None = Field(
        None, ge=0, description="Std of the action in the tuple that begins every episode; none: exploration_noise."
    )
    unbounded_history: bool = Field(
        False, description="After adaptation, contexts hold the whole episode instead of history_length tuples."
    )
    pad_evaluation: bool = Field(
        False, description="After adaptation, pad short histories with zeros as in training (published: no)."
    )

    # TD3
    learning_rate: float = Field(3e-4, gt=0, description="Learning rate of Adam in meta-training.")
    discount: float = Field(0.99, ge=0, le=1, description="Discount.")
    tau: float = Field(0.005, gt=0, le=1, description="Step of the target networks towards the trained ones.")
    policy_frequency: int = Field(2, ge=1, description="Critic updates per update of the actor and the targets.")
    target_noise: float = Field(0.2, ge=0, description="Std of the noise on the target's actions.")
    target_noise_clip: float = Field(0.5, ge=0, description="Bound of the noise on the target's actions.")
    batch_size: int = Field(256, ge=1, description="Transitions per update.")
    standardise: bool = Field(
        False,
        description="Standardise observations and contexts' rewards by the random episodes, scale rewards (paper: no).",
    )

    # Meta-training
    updates: int = Field(100_000, ge=1, description="Gradient updates of meta-training (the last round is finished).")
    updates_per_round: int = Field(200, ge=1, description="Updates after each round of episodes.")
    episodes_per_round: int = Field(5, ge=1, description="Episodes of a round, each on a training task of its own.")
    short_rounds_until: int = Field(
        0,
        ge=0,
        description="Until the replay holds this many transitions, a round has as many updates as an episode steps.",
    )
    initial_steps_per_task: int = Field(500, ge=1, description="Steps of random actions per training task, at first.")
    initial_steps_least: int = Field(10_000, ge=0, description="Least steps of random actions over all training tasks.")
    initial_episode_fraction: float = Field(
        0.25, gt=0, le=1, description="Episodes of random actions are cut at this share of the horizon."
    )
    exploration_noise: float = Field(0.2, ge=0, description="Std of the noise on actions in meta-training.")
    replay_size: int = Field(1_000_000, ge=1, description="Transitions in the replay of all training tasks.")
    checkpoint_every: int = Field(10_000, ge=1, description="Updates between saved progress, at ends of rounds.")

    # Adaptation
    adaptation_episodes: int = Field(
        1, ge=1, description="Episodes of its own that an agent collects before it adapts."
    )
    readapt_every: int = Field(
        0, ge=0, description="Episodes until it adapts anew from the meta-trained parameters to all its data; 0: never."
    )
    adaptation_learning_rate: float = Field(1e-3, gt=0, description="Learning rate of the fresh Adams.")
    own_updates: int = Field(10, ge=0, description="Phase 1: updates on the agent's own transitions.")
    replay_updates: int = Field(100, ge=0, description="Phase 2: updates on the weighted meta-training replay.")
    replay_batch_multiple: int = Field(5, ge=1, description="Phase 2: size of a batch, in units of batch_size.")
    adaptation_replay_size: int = Field(
        1_000_000, ge=1, description="Newest transitions of the replay that the checkpoint keeps for phase 2."
    )
    snapshot_size: int = Field(2000, ge=1, description="Newest transitions of a task that the propensity is fitted to.")
    propensity_regularisation: float = Field(
        0.1, gt=0, description="Inverse strength C of the logistic regression's L2 penalty."
    )
    propensity_clip: float = Field(1.0, description="Weights are at most e to this.")
    propensity_floor: float = Field(0.1, ge=0, description="Weights below this are 0.")
    propensity_features: Literal["context", "context_and_observation"] = Field(
        "context", description="What the logistic regression sees of a transition."
    )
    proximal: Literal["ess", "fixed"] = Field(
        "ess",
        description="Pull to the meta-trained parameters: 1 - effective sample size (paper), or constant (its code).",
    )
    proximal_coefficient: float = Field(
        0.1, ge=0, description="The constant pull; ess has none: it is 1 where every weight of a batch is 0."
    )

    def dummy_action(self, normal: Array) -> FloatArray:
        """The action of the tuple that begins an episode, (A,) in [-1, 1], from standard normal numbers (A,)."""
        deviation = self.exploration_noise if self.dummy_action_std is None else self.dummy_action_std
        return np.clip(deviation * normal, -1, 1).astype(np.float32)

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.context_size == 0 and self.propensity_features == "context":
            raise ValueError("without a context the propensity needs propensity_features=context_and_observation")
        return self
