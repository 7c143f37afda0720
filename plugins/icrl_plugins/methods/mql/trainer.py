"""Meta-Q-Learning as a method: multi-task TD3 on the training tasks, and agents that adapt to new ones.

Fakoor, Chaudhari, Soatto and Smola 2020 (arXiv 1910.00125), algorithm 1: rounds of episodes on training tasks and of
updates on one replay that mixes all tasks. A round depends on its number, the parameters, the moments and the replay;
progress is kept between rounds, where no episode is running.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from icrl_plugins.methods.mql.adaptation import MetaTrained
from icrl_plugins.methods.mql.agent import MQLAgent
from icrl_plugins.methods.mql.collection import Collected, EpisodeCollector
from icrl_plugins.methods.mql.config import MQLConfig
from icrl_plugins.methods.mql.episodes import EpisodeTable
from icrl_plugins.methods.mql.networks import Networks, tuple_size
from icrl_plugins.methods.mql.standardisation import Standardisation
from icrl_plugins.methods.mql.td3 import TD3, load_networks
from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.training.loop import Learner, run_training
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import (
    Agent,
    Array,
    BackboneFactory,
    Checkpoint,
    EnvironmentSpec,
    Method,
    TrainingJob,
    TrainingTasks,
)
from icrl_registry.errors import UsageError

# The independent streams of one training, as children of the job's seed.
_WEIGHTS, _INITIAL, _EPISODES, _UPDATES = 0, 1, 2, 3


class MQL(Method):
    """Meta-Q-Learning: TD3 with a recurrent context, adapted off-policy with importance weights."""

    Config: ClassVar[type[ComponentConfig]] = MQLConfig
    training_data: ClassVar = "tasks"
    #: Small enough for the conformance checks, which train several times.
    conformance_settings: ClassVar[Mapping[str, Any]] = {
        "hidden_sizes": (16, 16),
        "context_size": 4,
        "history_length": 5,
        "batch_size": 16,
        "updates": 12,
        "updates_per_round": 4,
        "episodes_per_round": 3,
        "initial_steps_per_task": 10,
        "initial_steps_least": 0,
        "checkpoint_every": 4,
        "own_updates": 3,
        "replay_updates": 3,
        "replay_batch_multiple": 1,
    }

    def __init__(self, config: ComponentConfig, backbone: BackboneFactory | None = None) -> None:
        assert isinstance(config, MQLConfig)
        if backbone is not None:
            raise UsageError("mql has a recurrent context of its own and takes no backbone", "run it with --method mql")
        self.config = config

    def train(self, job: TrainingJob) -> Checkpoint:
        """See `Method.train`.

        Raises:
            NumericalError: a parameter, observation or reward is not finite.
        """
        assert job.tasks is not None
        batch_rows = max(len(job.tasks.tasks), self.config.episodes_per_round)
        batch = job.tasks.make_batch([row % len(job.tasks.tasks) for row in range(batch_rows)])
        try:
            collector = EpisodeCollector(batch, job.spec, self.config, job.device)
            return run_training(_Learner(self.config, job, job.tasks, collector), job, self.config)
        finally:
            batch.close()

    def agent(self, checkpoint: Checkpoint, spec: EnvironmentSpec, device: str) -> Agent:
        """An agent with the networks, the replay and the settings that the checkpoint was trained with."""
        config = MQLConfig.model_validate(checkpoint.state["config"])
        networks, targets = (Networks.initial(spec, config, np.random.SeedSequence(0)) for _ in range(2))
        load_networks(networks, targets, checkpoint.tensors)
        count = int(np.asarray(checkpoint.tensors["replay.lengths"]).sum())
        replay = EpisodeTable(max(1, count), spec.action_size, tuple_size(spec), device)
        replay.load(checkpoint.tensors)
        num_tasks = int(checkpoint.state["training_tasks"])
        replay.standardisation = Standardisation.from_tensors(checkpoint.tensors) if config.standardise else None
        meta = MetaTrained(networks.to(device), targets.to(device), replay, num_tasks, config)
        return MQLAgent(meta, spec, device)


class _Learner(Learner):
    """One meta-training: rounds of episodes, then of updates."""

    def __init__(self, config: MQLConfig, job: TrainingJob, tasks: TrainingTasks, collector: EpisodeCollector) -> None:
        self.config, self.job, self.collector = config, job, collector
        self.num_tasks = len(tasks.tasks)
        networks = Networks.initial(job.spec, config, child_seed(job.seed, _WEIGHTS)).to(job.device)
        self.learner = TD3(networks, networks.copies(1), config, config.learning_rate)
        row_size = tuple_size(job.spec)
        self.replay = EpisodeTable(config.replay_size, job.spec.action_size, row_size, job.device)
        self.round = 0  # rounds done
        self.env_steps = 0

    @property
    def update(self) -> int:
        return self.learner.updates

    @property
    def num_updates(self) -> int:
        return self.config.updates

    def updates(self) -> Generator[Mapping[str, float], None, None]:
        while self.update < self.num_updates:
            yield self._round()

    def begin(self) -> None:
        """Fills the replay with episodes of random actions, cut short, all tasks in turn."""
        config, horizon = self.config, self.job.spec.horizon
        least = max(config.initial_steps_per_task * self.num_tasks, config.initial_steps_least)
        length = max(1, round(config.initial_episode_fraction * horizon))
        collected: list[Collected] = []
        passes = 0
        while sum(each.episode.length for each in collected) < least:
            seed = child_seed(self.job.seed, _INITIAL, passes)
            collected += self.collector.random(np.arange(self.num_tasks), length, seed)
            passes += 1
        if config.standardise:
            fitted = Standardisation.fit([each.episode for each in collected], self.job.spec)
            self._standardise(fitted)
            size = self.job.spec.action_size
            collected = [each._replace(episode=fitted.episode(each.episode, size)) for each in collected]
        self._keep(collected)

    def _standardise(self, constants: Standardisation) -> None:
        self.replay.standardisation = self.collector.standardisation = constants

    def _round(self) -> dict[str, float]:
        """Some episodes, then some updates."""
        config, seed = self.config, child_seed(self.job.seed, _EPISODES, self.round)
        rows = np.random.default_rng(seed).permutation(self.collector.batch.num_tasks)[: config.episodes_per_round]
        collected = self.collector.noisy(np.sort(rows), self.learner.networks.actor, seed)
        self._keep(collected)
        metrics = {"return": float(np.mean([each.total_reward for each in collected]))}
        generator = np.random.default_rng(child_seed(self.job.seed, _UPDATES, self.round))
        losses: dict[str, torch.Tensor] = {}
        for _ in range(self._updates_of_round(collected)):
            numbers = generator.integers(self.replay.num_transitions, size=(1, config.batch_size))
            shape = (1, config.batch_size, self.job.spec.action_size)
            noise = torch.from_numpy(generator.standard_normal(shape, dtype=np.float32)).to(self.job.device)
            losses |= self.learner.update(self.replay.batch(numbers, config.history_length), noise)
        self.round += 1
        self.learner.require_finite(f"after update {self.learner.updates} of {config.updates}")
        return metrics | {name: float(loss) for name, loss in losses.items()} | {"env_steps": float(self.env_steps)}

    def _updates_of_round(self, collected: list[Collected]) -> int:
        if self.replay.num_transitions < self.config.short_rounds_until:
            return max(1, round(np.mean([each.episode.length for each in collected])))
        return self.config.updates_per_round

    def _keep(self, collected: list[Collected]) -> None:
        for each in collected:
            self.replay.add(each.episode, each.row % self.num_tasks)
            self.env_steps += each.episode.length

    def agent(self) -> Agent:
        networks, targets = self.learner.networks.copies(1), self.learner.targets.copies(1)
        meta = MetaTrained(networks, targets, self.replay, self.num_tasks, self.config)
        return MQLAgent(meta, self.job.spec, self.job.device)

    def parameters(self) -> dict[str, Array]:
        return {n: t for n, t in self.learner.tensors().items() if n.startswith(("model.", "target."))}

    def progress(self) -> dict[str, Array]:
        return {**self.learner.tensors(), **self.replay.tensors(), **self._scales()}

    def constants(self) -> dict[str, Array]:
        """The replay, and the constants that its rows were standardised by."""
        return {**self.replay.tensors(self.config.adaptation_replay_size), **self._scales()}

    def _scales(self) -> dict[str, Array]:
        return self.replay.standardisation.tensors() if self.replay.standardisation else {}

    def state(self) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(mode="json"),
            "updates": self.learner.updates,
            "round": self.round,
            "env_steps": self.env_steps,
            "training_tasks": self.num_tasks,
        }

    def resume(self, progress: Checkpoint) -> None:
        state: Mapping[str, Any] = progress.state
        own = {name: tensor for name, tensor in progress.tensors.items() if not name.startswith("best.")}
        self.learner.load(own, int(state["updates"]))
        self.replay.load(progress.tensors)
        if self.config.standardise:
            self._standardise(Standardisation.from_tensors(progress.tensors))
        self.round, self.env_steps = int(state["round"]), int(state["env_steps"])
