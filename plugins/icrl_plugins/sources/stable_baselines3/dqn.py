"""DQN (Mnih et al., 2015) as a source of learning histories with discrete actions, on Stable-Baselines3."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.policies import DQNPolicy

from icrl_plugins.sources.stable_baselines3.discrete import NumberedActions, RowActions
from icrl_plugins.sources.stable_baselines3.source import FUSED_ADAM, Sb3Config, Sb3Source
from icrl_registry.actions import ActionKind, action_numbers
from icrl_registry.contracts import Array


class Sb3DQNConfig(Sb3Config):
    """DQN's hyper-parameters. The defaults take one gradient step per step of the five environments together."""

    total_steps: int = Field(100_000, ge=1, description="environment steps per task, over all parallel environments")
    batch_size: int = Field(64, ge=2, description="transitions per gradient step")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step size (initial value if it decays)")
    hidden_sizes: tuple[int, ...] = Field((64, 64), description="widths of the hidden layers of the Q-network")
    buffer_size: int = Field(1_000_000, ge=1, description="transitions that the replay buffer holds")
    learning_starts: int = Field(
        400, ge=0, description="environment steps, over all parallel ones, with uniform random actions"
    )
    train_frequency: int = Field(1, ge=1, description="steps of every environment between two updates")
    gradient_steps: int = Field(1, ge=1, description="gradient steps per update")
    target_update_interval: int = Field(
        500, ge=1, description="environment steps, over all parallel ones, after which the target network is renewed"
    )
    first_epsilon: float = Field(1.0, ge=0, le=1, description="share of random actions at the begin")
    last_epsilon: float = Field(0.0, ge=0, le=1, description="share of random actions at the end")
    random_fraction: float = Field(
        0.5, gt=0, le=1, description="share of the steps over which the one falls linearly to the other"
    )
    max_grad_norm: float = Field(10.0, gt=0, description="gradients are clipped to this norm")


class ValuePolicy(RowActions, DQNPolicy):
    """Q-network and target network of the library; greedy is the action of the largest value."""


class NumberedDQN(DQN):
    """The library's DQN, which takes numbers from its policy as from its random draws."""

    def predict(self, *asked: Any, **named: Any) -> tuple[Array, Any]:
        """(S,) numbers, ε-greedy unless `deterministic`."""
        actions, state = super().predict(*asked, **named)
        return actions if actions.ndim < 2 else action_numbers(actions), state


class Sb3DQN(Sb3Source):
    """Deep Q-learning with a replay buffer and a target network. The parallel environments explore at the same steps."""

    Config = Sb3DQNConfig
    policy_type = ValuePolicy
    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("discrete",)
    config: Sb3DQNConfig

    def __init__(self, config: Sb3DQNConfig) -> None:
        self.config = config

    def steps_per_update(self) -> int:
        return self.config.train_frequency

    def policy_arguments(self) -> dict[str, Any]:
        return {"net_arch": list(self.config.hidden_sizes), "optimizer_kwargs": FUSED_ADAM}

    def build_model(self, vector_environment: VecEnv, seed: int) -> DQN:
        config = self.config
        return NumberedDQN(
            self.policy_type,
            NumberedActions(vector_environment),
            learning_rate=config.schedule(),
            # What training can't fill needs no memory: a larger buffer would be sampled in the same way.
            buffer_size=min(config.buffer_size, self.total_steps()),
            learning_starts=config.learning_starts,
            batch_size=config.batch_size,
            tau=1.0,
            gamma=config.discount,
            train_freq=config.train_frequency,
            gradient_steps=config.gradient_steps,
            target_update_interval=config.target_update_interval,
            exploration_fraction=config.random_fraction,
            exploration_initial_eps=config.first_epsilon,
            exploration_final_eps=config.last_epsilon,
            max_grad_norm=config.max_grad_norm,
            policy_kwargs=self.policy_arguments(),
            seed=seed,
            device="cpu",
        )
