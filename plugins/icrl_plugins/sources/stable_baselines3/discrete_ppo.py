"""PPO (Schulman et al., 2017) with a categorical policy as a source of learning histories, on Stable-Baselines3.

A source of its own beside `sb3-ppo`, so that what was made with the Gaussian policy keeps its address: a source's code is part
of the address of all its histories.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from icrl_plugins.sources.stable_baselines3.discrete import NumberedActions, RowActions
from icrl_plugins.sources.stable_baselines3.ppo import Sb3PPO, Sb3PPOConfig
from icrl_registry.actions import ActionKind


class CategoricalPolicy(RowActions, ActorCriticPolicy):
    """Actor and critic of the library, with the actions' softmax."""


class Sb3DiscretePPOConfig(Sb3PPOConfig):
    """PPO's hyper-parameters."""

    log_std_init: float = Field(0.0, description="of the Gaussian of continuous actions; here it changes nothing")


class Sb3DiscretePPO(Sb3PPO):
    """Proximal policy optimisation with a clipped ratio, for discrete actions. Greedy is the likeliest action."""

    Config = Sb3DiscretePPOConfig
    policy_type = CategoricalPolicy
    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("discrete",)
    config: Sb3DiscretePPOConfig

    def build_model(self, vector_environment: VecEnv, seed: int) -> PPO:
        return super().build_model(NumberedActions(vector_environment), seed)
