"""MACAW as a method: meta-training on learning histories, agents from checkpoints.

Mitchell et al. 2021, algorithm 1. A meta-update draws tasks, adapts both networks to an inner batch of each and descends
the mean of the outer losses, through the adaptation.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from icrl_plugins.methods.macaw.agent import MACAWAgent
from icrl_plugins.methods.macaw.config import MACAWConfig
from icrl_plugins.methods.macaw.data import BatchSampler, reward_scale, task_data
from icrl_plugins.methods.macaw.meta_learning import MetaBatch, MetaLearner
from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.randomness.torch_generators import default_generator, torch_generator
from icrl_plugins.training.checkpoints import load_module
from icrl_plugins.training.gradient_training import GradientTraining
from icrl_plugins.training.loop import GradientLearner, run_training
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import (
    Agent,
    Array,
    BackboneFactory,
    Checkpoint,
    EnvironmentSpec,
    Method,
    Track,
    TrainingJob,
)
from icrl_registry.errors import BenchError, UsageError

# The independent streams of one training, as children of the job's seed.
_WEIGHTS, _BATCHES, _UPDATES = 0, 1, 2


class MACAW(Method):
    """Meta-learns networks, learning rates and losses so that one gradient step on a few transitions fits a task."""

    Config: ClassVar[type[ComponentConfig]] = MACAWConfig
    tracks: ClassVar[tuple[Track, ...]] = ("online", "offline")
    conformance_settings: ClassVar[dict[str, Any]] = {
        "updates": 12,
        "checkpoint_every": 5,
        "hidden_size": 16,
        "latent_size": 8,
        "validation_every": 6,
        "select_best": True,
        "selection_metric": "return",
        "inner_batch_size": 64,
        "adaptation_batch_size": 10,
    }

    def __init__(self, config: ComponentConfig, backbone: BackboneFactory | None = None) -> None:
        assert isinstance(config, MACAWConfig)
        if backbone is not None:
            raise UsageError("macaw has networks of its own and takes no backbone", "run it with --method macaw")
        self.config = config

    def train(self, job: TrainingJob) -> Checkpoint:
        """See `Method.train`.

        Raises:
            BenchError: a history holds no complete episode, or nothing that inner batches may use.
            NumericalError: the outer loss or its gradient is not finite; the message has the update.
        """
        return run_training(_Learner(self.config, job), job, self.config)

    def agent(self, checkpoint: Checkpoint, spec: EnvironmentSpec, device: str) -> Agent:
        """An agent with the networks, the constants and the configuration that the checkpoint was trained with."""
        trained = MACAWConfig.model_validate(checkpoint.state["config"])
        learner = build_learner(spec, trained, np.random.SeedSequence(0))
        load_module(learner, checkpoint.tensors)
        return MACAWAgent(learner.to(device), Normalisation.from_tensors(checkpoint.tensors), spec, device)


def build_learner(spec: EnvironmentSpec, config: MACAWConfig, seed: np.random.SeedSequence) -> MetaLearner:
    """Networks on the CPU whose weights depend on `seed` alone."""
    with default_generator(torch_generator(seed)):
        return MetaLearner(spec, config)


def build_optimiser(learner: MetaLearner, config: MACAWConfig) -> torch.optim.AdamW:
    """Adam with a rate each for the policy, the value network and what is learned of the inner step."""
    learned = {id(p) for name, p in learner.named_parameters() if name.endswith(("rates", "coefficient"))}
    groups: list[dict[str, Any]] = [
        {
            "params": [p for p in network.parameters() if id(p) not in learned],
            "rate_factor": rate / config.learning_rate,
        }
        for network, rate in (
            (learner.policy, config.learning_rate),
            (learner.value, config.value_learning_rate),
        )
    ]
    groups.append(
        {
            "params": [p for p in learner.parameters() if id(p) in learned and p.requires_grad],
            "rate_factor": config.rate_learning_rate / config.learning_rate,
            "weight_decay": 0.0,
        }
    )
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )


class _Learner(GradientLearner[tuple[MetaBatch, MetaBatch]]):
    """The meta-learner under meta-training. A batch is the inner and the outer one of a meta-update."""

    def __init__(self, config: MACAWConfig, job: TrainingJob) -> None:
        self.config, self.job = config, job
        if not job.histories:
            raise BenchError("there is no training history", "collect at least one training task")
        tasks = [task_data(history, config) for history in job.histories]
        self.normalisation = fit_normalisation(job, config, reward_scale(tasks))
        self.sampler = BatchSampler(tasks, self.normalisation, config, child_seed(job.seed, _BATCHES))
        self.learner = build_learner(job.spec, config, child_seed(job.seed, _WEIGHTS)).to(job.device)
        optimiser = build_optimiser(self.learner, config)
        seed = child_seed(job.seed, _UPDATES)
        super().__init__(GradientTraining(self.learner, config, config.updates, seed, optimiser))

    def batch(self, number: int) -> tuple[MetaBatch, MetaBatch]:
        return self.sampler.batch(number)

    def loss(self, batch: tuple[MetaBatch, MetaBatch]) -> tuple[torch.Tensor, dict[str, float]]:
        inner, outer = (each.to(self.job.device) for each in batch)
        value_losses, policy_losses, adaptation = self.learner.outer_losses(inner, outer)
        value, policy = value_losses.mean(), policy_losses.mean()
        return value + policy, {
            "value_loss": float(value.detach()),
            "policy_loss": float(policy.detach()),
            "inner_value_loss": float(adaptation.value_losses.mean()),
        }

    def updated(self, batch: tuple[MetaBatch, MetaBatch]) -> dict[str, float]:
        return self.learner.learned_constants()

    def agent(self) -> Agent:
        return MACAWAgent(self.learner, self.normalisation, self.job.spec, self.job.device)

    def constants(self) -> dict[str, Array]:
        return self.normalisation.tensors()

    def state(self) -> dict[str, Any]:
        return {**super().state(), "config": self.config.model_dump(mode="json")}


def fit_normalisation(job: TrainingJob, config: MACAWConfig, returns_scale: float) -> Normalisation:
    """The constants that the configuration asks for; `returns_scale` is used where it names no reward scale."""
    fitted = Normalisation.fit(job.histories, config.reward_scale or returns_scale)
    if config.observation_normalisation:
        return fitted
    size = job.spec.observation_size
    return Normalisation(np.zeros(size, np.float32), np.ones(size, np.float32), fitted.reward_scale)
