"""SAC (Haarnoja et al., 2018, with a learnt temperature) for all tasks together: a source of learning histories.

The algorithm, its hyper-parameters and their defaults are those of `sb3-sac`; `sac_learner.py` holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from icrl_plugins.sources.hyperparameters import SACConfig
from icrl_plugins.sources.population import PopulationConfig, PopulationSource
from icrl_plugins.sources.sac_learner import SACLearner
from icrl_registry.contracts import EnvironmentSpec


class PopulationSACConfig(SACConfig, PopulationConfig):
    """SAC's hyper-parameters, and how many tasks train together."""


class SAC(PopulationSource):
    """Soft actor-critic with two critics and automatic temperature, all tasks at once."""

    Config = PopulationSACConfig
    config: PopulationSACConfig
    conformance_settings: ClassVar[Mapping[str, Any]] = {
        "total_steps": 300,
        "num_envs": 3,
        "learning_starts": 60,
        "hidden_sizes": [16, 16],
        "batch_size": 32,
        "evaluation_episodes": 2,
    }

    def make_learner(self, spec: EnvironmentSpec, seeds: Sequence[np.random.SeedSequence]) -> SACLearner:
        return SACLearner(spec, self.config, self.total_steps(), seeds)
