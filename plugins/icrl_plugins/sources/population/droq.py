"""DroQ (Hiraoka et al., 2022, algorithm 2) for all tasks together: a source of learning histories.

The algorithm, its hyper-parameters and their defaults are those of `sb3-droq`. It is SAC with dropout and layer
normalisation in critics and target critics, several steps of the critics for one of the policy, and a policy that
maximises the critics' mean: `droq_update` says so in plain autograd, and `DroQLearner` is held to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from icrl_plugins.networks.stacked_layers import StackedDropout, StackedLayerNorm, StackedLinear
from icrl_plugins.randomness.task_streams import Streams
from icrl_plugins.sources.hyperparameters import DroQConfig, SACConfig
from icrl_plugins.sources.population.sac import SAC, SACBatch, SACLearner, SACNetworks, sac_update
from icrl_plugins.sources.population.source import PopulationConfig
from icrl_registry.contracts import EnvironmentSpec


class PopulationDroQConfig(DroQConfig, PopulationConfig):
    """DroQ's hyper-parameters, and how many tasks train together."""


def droq_update(
    networks: SACNetworks, batch: SACBatch, config: DroQConfig, target_entropy: float, num_updates: int
) -> dict[str, torch.Tensor]:
    """The `num_updates`-th gradient step (counted from 1): the specification of `DroQLearner.update`; see `sac_update`.

    The critics' dropout draws new masks at every evaluation, in the order target critics, critics, critics for the policy.
    """
    delay = config.policy_delay or config.gradient_steps
    return sac_update(networks, batch, config, target_entropy, num_updates % delay == 0, lambda q: q.mean(dim=1))


class DroQLearner(SACLearner):
    """SAC's learners with DroQ's critics: more steps of the critics, and the policy follows their mean."""

    config: PopulationDroQConfig

    def make_critics(self, streams: Streams, sizes: Sequence[int]) -> nn.Sequential:
        """Hidden layers are Linear → Dropout → LayerNorm → ReLU."""
        layers: list[nn.Module] = []
        for layer in super().make_critics(streams, sizes):
            layers.append(layer)
            if isinstance(layer, StackedLinear) and layer.weight.shape[-1] != sizes[-1]:
                layers.append(StackedDropout(self.config.dropout, streams))
                if self.config.layer_norm:
                    layers.append(StackedLayerNorm(streams.num_tasks, layer.weight.shape[-1]))
        return nn.Sequential(*layers)

    def updates_policy(self) -> bool:
        return self.num_updates % (self.config.policy_delay or self.config.gradient_steps) == 0

    def objective_gradients(self, q_values: torch.Tensor) -> torch.Tensor:
        """The mean's derivative: both critics take half."""
        return torch.full_like(q_values, 1.0 / q_values.shape[1])


class DroQ(SAC):
    """Soft actor-critic with dropout Q-functions, all tasks at once."""

    Config: ClassVar[type[SACConfig]] = PopulationDroQConfig
    config: PopulationDroQConfig  # type: ignore[assignment]  # of the same fields and more, but of another branch
    conformance_settings: ClassVar[Mapping[str, Any]] = {**SAC.conformance_settings, "gradient_steps": 2}

    def make_learner(self, spec: EnvironmentSpec, seeds: Sequence[np.random.SeedSequence]) -> DroQLearner:
        return DroQLearner(spec, self.config, self.total_steps(), seeds)
