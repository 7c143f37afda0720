"""Adaptation to K new tasks at once (Meta-Q-Learning, section 3.3 and algorithm 2), from the meta-trained parameters.

Phase 1 takes TD3 updates on the task's own transitions; phase 2 on the meta-training replay, each transition weighted by
how likely it is in the new task, with a pull λ‖θ − θ_meta‖² to the meta-trained parameters. The contexts that the
weights depend on are those of the meta-trained actor: computed once for the whole replay, they stay fixed while the
actor moves, as the propensity model that was fitted to them does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from icrl_plugins.methods.mql.config import MQLConfig
from icrl_plugins.methods.mql.episodes import Episode, EpisodeTable, own_table
from icrl_plugins.methods.mql.networks import Networks
from icrl_plugins.methods.mql.propensity import effective_sample_size, fit_logistic_regression, importance_weights
from icrl_plugins.methods.mql.td3 import TD3, Weighting
from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.randomness.task_streams import TaskStreams
from icrl_registry.contracts import Array, FloatArray

_CHUNK = 4096  # transitions whose contexts are computed together


@dataclass(frozen=True)
class Propensity:
    """How one task's transitions compare with those of meta-training."""

    weights: Array  # (N,) float32, β of every transition of the replay
    accuracy: float  # of the classifier, on what it was fitted to

    def diagnostics(self) -> dict[str, float]:
        """Numbers for the row."""
        size = effective_sample_size(self.weights)
        return {
            "classifier_accuracy": self.accuracy,
            "mean_weight": float(self.weights.mean()),
            "zero_weight_fraction": float((self.weights == 0).mean()),
            "effective_sample_size": float(np.nan_to_num(size)),
        }


@dataclass
class MetaTrained:
    """What an adaptation starts from and comes back to; nothing here ever changes."""

    networks: Networks  # θ_meta, K = 1
    targets: Networks
    replay: EpisodeTable
    num_tasks: int  # training tasks
    config: MQLConfig
    _features: FloatArray | None = field(default=None, repr=False)

    def features(self) -> FloatArray:
        """What the propensity model sees of every transition of the replay, (N, Z); computed once."""
        if self._features is None:
            self._features = self.features_of(self.replay)
        return self._features

    @torch.no_grad()
    def features_of(self, table: EpisodeTable) -> FloatArray:
        """The meta-trained actor's contexts, and the observations if the configuration wants them, (N, Z)."""
        parts: list[Array] = []
        for start in range(0, table.num_transitions, _CHUNK):
            numbers = np.arange(start, min(start + _CHUNK, table.num_transitions))[None]  # (1, B)
            contexts = self.networks.actor.encode(table.histories(numbers, self.config.history_length))[0]
            if self.config.propensity_features == "context_and_observation":
                observations = table.rows[torch.from_numpy(table.locate(numbers)[0][0])][:, table.action_size + 1 :]
                contexts = torch.cat([observations, contexts], dim=-1)
            parts.append(contexts.cpu().numpy())
        return np.concatenate(parts)

    def fresh_learner(self, num_tasks: int) -> TD3:
        """K copies of everything with optimisers that have no memory."""
        rate = self.config.adaptation_learning_rate
        return TD3(self.networks.copies(num_tasks), self.targets.copies(num_tasks), self.config, rate)


def adapt(
    meta: MetaTrained, episodes: Sequence[Sequence[Episode]], seeds: Sequence[np.random.SeedSequence]
) -> tuple[TD3, list[dict[str, float]]]:
    """Adapts to K tasks, each from its own `episodes` with its own seed; all have equally many transitions.

    Returns:
        The adapted learner, with a copy for every task, and each task's diagnostics.
    """
    config = meta.config
    learner = meta.fresh_learner(len(episodes))
    own, bounds = own_table(episodes, meta.replay.action_size, meta.replay.standardisation, meta.replay.device)
    phases = [TaskStreams([child_seed(seed, phase) for seed in seeds]) for phase in range(3)]
    propensities = _propensities(meta, own, bounds, phases[0]) if config.replay_updates else []
    for _ in range(config.own_updates):
        numbers = bounds[:-1, None] + phases[1].integers(int(bounds[1]), int(bounds[1])).numpy()  # (K, n)
        learner.update(own.batch(numbers, config.history_length), _noise(phases[1], numbers, meta))
    pulls = np.zeros(len(episodes))
    for _ in range(config.replay_updates):
        pulls += _replay_update(learner, meta, propensities, phases[2]) / config.replay_updates
    learner.require_finite("after adaptation")
    diagnostics = [propensity.diagnostics() for propensity in propensities]
    return learner, [{**each, "proximal": float(pull)} for each, pull in zip(diagnostics, pulls, strict=False)]


def _replay_update(learner: TD3, meta: MetaTrained, propensities: Sequence[Propensity], streams: TaskStreams) -> Array:
    """One update of phase 2; returns λ of every task, (K,)."""
    config, replay = meta.config, meta.replay
    size = config.replay_batch_multiple * config.batch_size
    numbers = streams.integers(replay.num_transitions, size).numpy()  # (K, B)
    weights = np.stack([each.weights[drawn] for each, drawn in zip(propensities, numbers, strict=True)])  # (K, B)
    pulls = proximal_coefficients(weights, config)
    on_device = [torch.from_numpy(values.astype(np.float32)).to(replay.device) for values in (weights, pulls)]
    weighting = Weighting(*on_device, meta.networks)
    learner.update(replay.batch(numbers, config.history_length), _noise(streams, numbers, meta), weighting)
    return pulls


def proximal_coefficients(weights: Array, config: MQLConfig) -> Array:
    """λ for batches with these weights (K, B) → (K,): 1 − effective sample size, or the constant.

    Where every weight is 0 nothing of meta-training resembles the task: the effective sample size is 0, and λ is 1.
    """
    if config.proximal == "fixed":
        return np.full(len(weights), config.proximal_coefficient)
    return 1 - np.nan_to_num(effective_sample_size(weights))


def _propensities(meta: MetaTrained, own: EpisodeTable, bounds: Array, streams: TaskStreams) -> list[Propensity]:
    """One classifier a task: its own transitions against as many of meta-training, evenly from the training tasks."""
    config, old = meta.config, meta.features()
    new = meta.features_of(own)
    snapshots = [meta.replay.newest_of_task(task, config.snapshot_size) for task in range(meta.num_tasks)]
    snapshots = [numbers for numbers in snapshots if len(numbers)]
    each = int(bounds[1]) // meta.num_tasks + 2
    chosen = [streams.integers(len(numbers), each).numpy() for numbers in snapshots]  # (K, each)
    fitted = []
    for task in range(streams.num_tasks):
        own_features = new[bounds[task] : bounds[task + 1]]
        drawn = np.concatenate([held[rows[task]] for held, rows in zip(snapshots, chosen, strict=True)])
        features = np.concatenate([old[drawn], own_features])
        is_old = np.arange(len(features)) < len(drawn)
        model = fit_logistic_regression(features, is_old, config.propensity_regularisation)
        accuracy = float(((model.log_odds(features) > 0) == is_old).mean())
        weights = importance_weights(model.log_odds(old), config.propensity_clip, config.propensity_floor)
        fitted.append(Propensity(weights.astype(np.float32), accuracy))
    return fitted


def _noise(streams: TaskStreams, numbers: Array, meta: MetaTrained) -> torch.Tensor:
    """Standard normal numbers for the target's actions of a batch (K, B): (K, B, A)."""
    return streams.normal(numbers.shape[1], meta.replay.action_size).to(meta.replay.device)
