"""Algorithm Distillation as a method: meta-training on learning histories, agents from checkpoints.

Laskin et al. 2022, equation 1, for continuous actions: the likelihood of the source's actions given the across-episode
history before them, under a Gaussian of learnt spread, or of fixed spread, which is the mean squared error.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from icrl_plugins.methods.algorithm_distillation.agent import InContextAgent
from icrl_plugins.methods.algorithm_distillation.config import AlgorithmDistillationConfig
from icrl_plugins.methods.algorithm_distillation.model import (
    DistillationModel,
    masked_mean_squared_error,
    masked_negative_log_likelihood,
)
from icrl_plugins.methods.algorithm_distillation.sampling import Batch, WindowSampler
from icrl_plugins.methods.algorithm_distillation.tokens import streams_of
from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.randomness.torch_generators import default_generator, torch_generator
from icrl_plugins.training.checkpoints import load_module, module_tensors
from icrl_plugins.training.gradient_training import GradientTraining, prefetched
from icrl_plugins.training.model_selection import ModelSelection
from icrl_plugins.training.normalisation import Normalisation
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import (
    Agent,
    BackboneFactory,
    Checkpoint,
    EnvironmentSpec,
    Method,
    TrainingJob,
)
from icrl_registry.errors import UsageError

# The independent streams of one training, as children of the job's seed.
_WEIGHTS, _WINDOWS, _UPDATES = 0, 1, 2


class AlgorithmDistillation(Method):
    """Distils the source algorithm into a causal sequence model that improves in context."""

    Config: ClassVar[type[ComponentConfig]] = AlgorithmDistillationConfig
    uses_backbone: ClassVar[bool] = True

    def __init__(self, config: ComponentConfig, backbone: BackboneFactory | None = None) -> None:
        assert isinstance(config, AlgorithmDistillationConfig)
        if backbone is None:
            raise UsageError("Algorithm Distillation needs a backbone", "name one, for example --method ad-mamba")
        self.config = config
        self.backbone = backbone

    def train(self, job: TrainingJob) -> Checkpoint:
        """See `Method.train`.

        Raises:
            BenchError: the histories hold no complete episode.
            NumericalError: the loss or its gradient is not finite; the message has the update.
        """
        return _Training(self, job).run()

    def agent(self, checkpoint: Checkpoint, spec: EnvironmentSpec, device: str) -> Agent:
        """An agent with the architecture and the constants that the checkpoint was trained with."""
        config = AlgorithmDistillationConfig.model_validate(checkpoint.state["config"])
        context_length = int(checkpoint.state["context_length"])
        model = self.build_model(config, spec, context_length, np.random.SeedSequence(0))
        load_module(model, checkpoint.tensors)
        normalisation = Normalisation.from_tensors(checkpoint.tensors)
        return InContextAgent(model.to(device), normalisation, config, context_length, device)

    def build_model(
        self,
        config: AlgorithmDistillationConfig,
        spec: EnvironmentSpec,
        context_length: int,
        seed: np.random.SeedSequence,
    ) -> DistillationModel:
        """A model on the CPU whose weights depend on `seed` alone."""
        with default_generator(torch_generator(seed)):
            return DistillationModel(
                self.backbone,
                observation_size=spec.observation_size,
                action_size=spec.action_size,
                context_length=context_length,
                token_layout=config.token_layout,
                episode_start_flag=config.episode_start_flag,
                head=config.head,
                dropout=config.dropout,
            )


class _Training:
    """One meta-training: what `AlgorithmDistillation.train` keeps between updates."""

    def __init__(self, method: AlgorithmDistillation, job: TrainingJob) -> None:
        self.config = method.config
        self.job = job
        streams = streams_of(job.histories, self.config.targets)
        self.normalisation = Normalisation.fit(job.histories, self.config.reward_scale)
        self.sampler = WindowSampler(streams, self.normalisation, self.config, child_seed(job.seed, _WINDOWS))
        self.context_length = self.sampler.context_length
        seed = child_seed(job.seed, _WEIGHTS)
        self.model = method.build_model(self.config, job.spec, self.context_length, seed).to(job.device)
        num_updates = self.config.num_updates(self.sampler.tokens_per_pass, self.context_length)
        self.training = GradientTraining(self.model, self.config, num_updates, child_seed(job.seed, _UPDATES))
        gaussian = self.config.head == "gaussian"
        self.loss = masked_negative_log_likelihood if gaussian else masked_mean_squared_error
        self.tokens_seen = 0
        self.selection = ModelSelection(self.config, job.validate, lambda: module_tensors(self.model))

    def run(self) -> Checkpoint:
        """From the last saved progress to the end."""
        progress = self.job.checkpoints.load()
        if progress is not None:
            self._resume(progress)
        training, config = self.training, self.config
        for batch in prefetched(self.sampler.batch, training.update, training.num_updates):
            metrics = self._update(batch)
            finished = training.update == training.num_updates
            if self.selection.due(training.update, training.num_updates):
                metrics |= self._validate()
            self.job.report(training.update, training.num_updates, metrics)
            if finished or training.update % config.checkpoint_every == 0:
                self.job.checkpoints.save(training.checkpoint(self.selection.best, self._state()))
        return self._final()

    def _update(self, batch: Batch) -> dict[str, float]:
        device = self.job.device
        tokens, targets, mask = (torch.from_numpy(a).to(device) for a in (batch.tokens, batch.targets, batch.mask))

        def compute_loss() -> torch.Tensor:
            enabled = self.config.precision == "bfloat16"
            with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=enabled):
                predicted = self.model(tokens)
            return self.loss(predicted, targets, mask)

        rate = self.training.learning_rate
        loss = self.training.step(compute_loss)
        self.tokens_seen += int(batch.mask.sum())
        return {"loss": loss, "learning_rate": rate}

    def _validate(self) -> dict[str, float]:
        """Lets the model adapt to the validation tasks as it stands."""
        agent = InContextAgent(self.model, self.normalisation, self.config, self.context_length, self.job.device)
        return self.selection.validate(self.training.update, agent)

    def _state(self) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(mode="json"),
            "context_length": self.context_length,
            "updates": self.training.update,
            "tokens_seen": self.tokens_seen,
            **self.selection.state(),
        }

    def _resume(self, progress: Checkpoint) -> None:
        self.training.resume(progress)
        self.tokens_seen = int(progress.state["tokens_seen"])
        self.selection.resume(progress.tensors, progress.state)

    def _final(self) -> Checkpoint:
        """What an agent needs: parameters (the best or the last), constants, configuration."""
        return Checkpoint({**self.selection.parameters(), **self.normalisation.tensors()}, self._state())
