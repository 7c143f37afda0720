"""One policy for all tasks, cloned from the late part of every training history: what ignoring the task can reach.

It sees the observation at hand and nothing else: no context, no reward. Behaviour cloning averages over tasks what the
sources ended up doing (at a Reacher: hover in the middle). A method that does not beat it has not used the task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.randomness.torch_generators import default_generator, torch_generator
from icrl_plugins.training.checkpoints import load_module
from icrl_plugins.training.gradient_training import GradientTraining
from icrl_plugins.training.loop import GradientLearner, LoopConfig, run_training
from icrl_plugins.training.normalisation import Normalisation
from icrl_plugins.training.optimisation import OptimisationConfig
from icrl_registry.actions import ActionKind
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import (
    AdaptationSetting,
    Agent,
    Array,
    BackboneFactory,
    Checkpoint,
    EnvironmentSpec,
    FloatArray,
    LearningHistory,
    Method,
    TrainingJob,
    Transitions,
)
from icrl_registry.errors import BenchError, UsageError

# The independent streams of one training, as children of the job's seed.
_WEIGHTS, _BATCHES, _UPDATES = 0, 1, 2


class TaskBlindConfig(OptimisationConfig, LoopConfig):
    """What is cloned, by which network, for how long."""

    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of AdamW.")
    late_fraction: float = Field(
        0.2, gt=0, le=1, description="Share of every history's episodes, from its end, to clone."
    )
    max_transitions: int = Field(1_000_000, ge=1, description="Transitions kept in memory, evenly spread over streams.")
    hidden_size: int = Field(128, ge=1, description="Width of the hidden layers.")
    num_layers: int = Field(2, ge=1, description="Number of hidden layers.")
    batch_size: int = Field(256, ge=1, description="Transitions per update.")
    updates: int = Field(3000, ge=1, description="Gradient updates.")
    checkpoint_every: int = Field(1000, ge=1, description="Updates between saved progress.")


class TaskBlind(Method):
    """Behaviour cloning of all training tasks at once, without context; of discrete actions the likeliest is taken."""

    Config: ClassVar[type[ComponentConfig]] = TaskBlindConfig
    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous", "discrete")

    def __init__(self, config: ComponentConfig, backbone: BackboneFactory | None = None) -> None:
        assert isinstance(config, TaskBlindConfig)
        if backbone is not None:
            raise UsageError("task-blind has no context and takes no backbone", "run it with --method task-blind")
        self.config = config

    def train(self, job: TrainingJob) -> Checkpoint:
        """See `Method.train`.

        Raises:
            BenchError: the histories hold no complete episode.
            NumericalError: the loss or its gradient is not finite.
        """
        return run_training(_Learner(self.config, job), job, self.config)

    def agent(self, checkpoint: Checkpoint, spec: EnvironmentSpec, device: str) -> Agent:
        """A policy that never changes."""
        policy = build_policy(self.config, spec, np.random.SeedSequence(0))
        load_module(policy, checkpoint.tensors)
        return TaskBlindAgent(policy.to(device).eval(), Normalisation.from_tensors(checkpoint.tensors), device)


class _Learner(GradientLearner[tuple[torch.Tensor, torch.Tensor]]):
    """The policy under behaviour cloning. A batch is observations (B, O) and actions (B, A)."""

    def __init__(self, config: TaskBlindConfig, job: TrainingJob) -> None:
        self.config, self.job = config, job
        self.observations, self.actions = late_transitions(job.histories, config.late_fraction, config.max_transitions)
        self.normalisation = Normalisation.fit(job.histories, None)
        policy = build_policy(config, job.spec, child_seed(job.seed, _WEIGHTS)).to(job.device)
        super().__init__(GradientTraining(policy, config, config.updates, child_seed(job.seed, _UPDATES)))

    def batch(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = np.random.default_rng(child_seed(self.job.seed, _BATCHES, number))
        rows = generator.integers(len(self.actions), size=self.config.batch_size)
        inputs = self.normalisation.observations(self.observations[rows])
        return torch.from_numpy(inputs), torch.from_numpy(self.actions[rows])

    def loss(self, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        observations, actions = (part.to(self.job.device) for part in batch)
        return nn.functional.mse_loss(self.module(observations), actions), {}

    def agent(self) -> Agent:
        return TaskBlindAgent(self.module.eval(), self.normalisation, self.job.device)

    def constants(self) -> dict[str, Array]:
        return self.normalisation.tensors()

    def state(self) -> dict[str, Any]:
        return {**super().state(), "config": self.config.model_dump(mode="json"), "transitions": len(self.actions)}


def build_policy(config: TaskBlindConfig, spec: EnvironmentSpec, seed: np.random.SeedSequence) -> nn.Sequential:
    """A network on the CPU whose weights depend on `seed` alone."""
    with default_generator(torch_generator(seed)):
        layers: list[nn.Module] = []
        size = spec.observation_size
        for _ in range(config.num_layers):
            layers += [nn.Linear(size, config.hidden_size), nn.ReLU()]
            size = config.hidden_size
        return nn.Sequential(*layers, nn.Linear(size, spec.action_size))


class TaskBlindAgent(Agent):
    """The cloned policy, the same in every episode."""

    def __init__(self, policy: nn.Module, normalisation: Normalisation, device: str) -> None:
        self.policy = policy
        self.normalisation = normalisation
        self.device = device

    def begin(self, setting: AdaptationSetting) -> None:
        """Nothing to forget."""

    @torch.inference_mode()
    def act(self, observations: FloatArray) -> FloatArray:
        """(K, O) → (K, A) in [-1, 1]."""
        inputs = torch.from_numpy(self.normalisation.observations(observations)).to(self.device)
        actions: FloatArray = self.policy(inputs).clamp(-1.0, 1.0).cpu().numpy()
        return actions

    def observe(self, transitions: Transitions) -> None:
        """Nothing to learn."""


def late_transitions(
    histories: Sequence[LearningHistory], late_fraction: float, max_transitions: int
) -> tuple[FloatArray, FloatArray]:
    """Observations (N, O) and executed actions (N, A) of the last `late_fraction` of every stream's complete episodes.

    A stream with more than its share of `max_transitions` is thinned evenly.
    """
    streams: list[tuple[Any, Any, int]] = []
    for history in histories:
        for index in range(history.num_streams):
            bounds = history.episode_bounds(index)
            if bounds:
                first, _ = bounds[-max(1, round(late_fraction * len(bounds)))]
                last = bounds[-1][1]
                streams.append(
                    (history.observations[index, first:last], history.actions[index, first:last], last - first)
                )
    if not streams:
        raise BenchError("no training history has a complete episode", "give the source more steps")
    share = max(1, max_transitions // len(streams))
    chosen = [np.unique(np.linspace(0, count - 1, min(share, count)).astype(np.int64)) for *_, count in streams]
    return (
        np.concatenate([np.asarray(o)[rows] for (o, _, _), rows in zip(streams, chosen, strict=True)]),
        np.concatenate([np.asarray(a)[rows] for (_, a, _), rows in zip(streams, chosen, strict=True)]),
    )
