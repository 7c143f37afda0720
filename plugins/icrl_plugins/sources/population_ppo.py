"""PPO (Schulman et al., 2017, equation 9) for all tasks together: a source of learning histories.

The algorithm, its hyper-parameters and their defaults are those of `sb3-ppo`; `ppo_learner.py` holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from icrl_plugins.sources.hyperparameters import PPOConfig
from icrl_plugins.sources.population import PopulationConfig, PopulationSource
from icrl_plugins.sources.ppo_learner import PPOLearner
from icrl_registry.contracts import EnvironmentSpec


class PopulationPPOConfig(PPOConfig, PopulationConfig):
    """PPO's hyper-parameters, and how many tasks train together."""


class PPO(PopulationSource):
    """Proximal policy optimisation with a clipped ratio, all tasks at once.

    The Gaussian is unbounded, so its samples are clipped to [-1, 1] before they are executed and recorded. Steps at the
    end of training that don't fill a whole rollout are recorded but not learnt from.
    """

    Config = PopulationPPOConfig
    config: PopulationPPOConfig
    conformance_settings: ClassVar[Mapping[str, Any]] = {
        "total_steps": 300,
        "num_envs": 3,
        "rollout_length": 20,
        "hidden_sizes": [16, 16],
        "batch_size": 32,
        "evaluation_episodes": 2,
    }

    def make_learner(self, spec: EnvironmentSpec, seeds: Sequence[np.random.SeedSequence]) -> PPOLearner:
        return PPOLearner(spec, self.config, self.total_steps(), seeds)
