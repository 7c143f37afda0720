"""What the methods share that learn in context on any backbone: Algorithm Distillation, DPT and in-context offline RL.

A method says what model it has and what trains it; from there everything is common: the windows, the loop, the agent.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch

from icrl_plugins.methods.in_context.agent import ContextLimits, Draw, InContextAgent, as_they_are
from icrl_plugins.methods.in_context.config import InContextConfig
from icrl_plugins.methods.in_context.layout import TokenLayout
from icrl_plugins.methods.in_context.model import InContextModel
from icrl_plugins.methods.in_context.sampling import TokenBatch, WindowSampler
from icrl_plugins.methods.in_context.tokens import Labels, executed_actions, streams_of
from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.randomness.torch_generators import default_generator, torch_generator
from icrl_plugins.training.checkpoints import load_module
from icrl_plugins.training.gradient_training import GradientTraining
from icrl_plugins.training.loop import GradientLearner, run_training
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Agent, Array, BackboneFactory, Checkpoint, EnvironmentSpec, Method, TrainingJob
from icrl_registry.errors import UsageError

# The independent streams of one training, as children of the job's seed.
WEIGHTS, WINDOWS, UPDATES = 0, 1, 2


class InContextMethod(Method):
    """A causal sequence model trained on windows of learning histories, and the agent that acts by it."""

    uses_backbone: ClassVar[bool] = True
    name: ClassVar[str]  # as on the command line, without the backbone
    config: InContextConfig

    def __init__(self, config: ComponentConfig, backbone: BackboneFactory | None = None) -> None:
        assert isinstance(config, self.Config)
        assert isinstance(config, InContextConfig)
        if backbone is None:
            raise UsageError(f"{self.name} needs a backbone", f"name one, for example --method {self.name}-mamba")
        self.config = config
        self.backbone = backbone

    @abstractmethod
    def make_learner(self, job: TrainingJob) -> InContextLearner:
        """What trains the model on the job's histories."""

    @abstractmethod
    def make_model(self, config: InContextConfig, layout: TokenLayout, context_length: int) -> InContextModel:
        """A new model; its weights come from torch's default generator."""

    def draw(self, config: InContextConfig, layout: TokenLayout) -> Draw:
        """How actions come from what the model says; by default they are what it says."""
        return as_they_are

    def train(self, job: TrainingJob) -> Checkpoint:
        """See `Method.train`.

        Raises:
            BenchError: the histories hold no complete episode.
            UsageError: the labels that the method needs are not to be had.
            NumericalError: the loss or its gradient is not finite; the message has the update.
        """
        return run_training(self.make_learner(job), job, self.config)

    def agent(self, checkpoint: Checkpoint, spec: EnvironmentSpec, device: str) -> Agent:
        """An agent with the architecture and the constants that the checkpoint was trained with."""
        config = self.Config.model_validate(checkpoint.state["config"])
        assert isinstance(config, InContextConfig)
        limits = ContextLimits(int(checkpoint.state["context_length"]), spec.horizon)
        model = self.build_model(config, spec, limits.context_length, np.random.SeedSequence(0))
        load_module(model, checkpoint.tensors)
        normalisation = Normalisation.from_tensors(checkpoint.tensors)
        return InContextAgent(model.to(device), normalisation, config, limits, device, self.draw(config, model.layout))

    def build_model(
        self, config: InContextConfig, spec: EnvironmentSpec, context_length: int, seed: np.random.SeedSequence
    ) -> InContextModel:
        """A model on the CPU whose weights depend on `seed` alone."""
        with default_generator(torch_generator(seed)):
            return self.make_model(config, TokenLayout.of(spec, config.episode_start_flag), context_length)


class InContextLearner(GradientLearner[TokenBatch]):
    """A model in training on windows of histories; a subclass adds the loss."""

    def __init__(self, method: InContextMethod, job: TrainingJob, labels: Labels = executed_actions) -> None:
        config = self.config = method.config
        self.method, self.job = method, job
        streams = streams_of(job.histories)
        standardise = config.reward_normalisation == "standardise"
        self.normalisation = Normalisation.fit(job.histories, config.reward_scale, standardise)
        seed = child_seed(job.seed, WINDOWS)
        self.sampler = WindowSampler(streams, self.normalisation, config, seed, labels)
        self.context_length = self.sampler.context_length
        self.model = method.build_model(config, job.spec, self.context_length, child_seed(job.seed, WEIGHTS))
        self.model.to(job.device)
        self.tokens_seen = 0
        num_updates = config.num_updates(self.sampler.tokens_per_pass, self.context_length)
        super().__init__(GradientTraining(self.model, config, num_updates, child_seed(job.seed, UPDATES)))

    def batch(self, number: int) -> TokenBatch:
        return self.sampler.batch(number)

    def predicted(self, tokens: torch.Tensor) -> torch.Tensor:
        """The model's forward pass on (B, T, F) in the precision that the configuration says."""
        with self.autocast():
            output: torch.Tensor = self.model(tokens)
        return output

    def autocast(self) -> torch.autocast:
        """The precision of passes through the model."""
        enabled = self.config.precision == "bfloat16"
        return torch.autocast(torch.device(self.job.device).type, dtype=torch.bfloat16, enabled=enabled)

    def updated(self, batch: TokenBatch) -> dict[str, float]:
        self.tokens_seen += int(batch.mask.sum())
        return {}

    def agent(self) -> Agent:
        limits = ContextLimits(self.context_length, self.job.spec.horizon)
        draw = self.method.draw(self.config, self.model.layout)
        return InContextAgent(self.model, self.normalisation, self.config, limits, self.job.device, draw)

    def constants(self) -> dict[str, Array]:
        return self.normalisation.tensors()

    def state(self) -> dict[str, Any]:
        return {
            **super().state(),
            "config": self.config.model_dump(mode="json"),
            "context_length": self.context_length,
            "tokens_seen": self.tokens_seen,
        }

    def resume(self, progress: Checkpoint) -> None:
        super().resume(progress)
        self.tokens_seen = int(progress.state["tokens_seen"])
