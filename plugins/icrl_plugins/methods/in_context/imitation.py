"""Imitation in context: predict the labels of every step of a window. What the labels are is the whole method.

Algorithm Distillation labels each step with what the learning source did there and so distils learning itself; DPT labels
it with what the source's final policy would do and so distils the posterior over tasks.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from pydantic import Field

from icrl_plugins.methods.in_context.agent import Draw, as_they_are
from icrl_plugins.methods.in_context.config import InContextConfig
from icrl_plugins.methods.in_context.layout import TokenLayout
from icrl_plugins.methods.in_context.method import InContextLearner, InContextMethod
from icrl_plugins.methods.in_context.model import (
    Head,
    ImitationModel,
    InContextModel,
    masked_mean_squared_error,
    masked_negative_log_likelihood,
    mean_and_log_std,
)
from icrl_plugins.methods.in_context.sampling import Batch
from icrl_plugins.methods.in_context.tokens import Labels
from icrl_registry.contracts import FloatArray, TrainingJob


class ImitationConfig(InContextConfig):
    """What the action head gives."""

    head: Head = Field(
        "linear",
        description="What the action head gives: actions (linear ones are clipped) for the squared error, or mean and "
        "spread for the likelihood, from which actions are drawn.",
    )


class ImitationMethod(InContextMethod):
    """Regression on labels; a subclass says which."""

    config: ImitationConfig

    @abstractmethod
    def labels(self, job: TrainingJob) -> Labels:
        """What is to be predicted at every step of a stream."""

    def make_learner(self, job: TrainingJob) -> InContextLearner:
        return ImitationLearner(self, job, self.labels(job))

    def make_model(self, config: InContextConfig, layout: TokenLayout, context_length: int) -> InContextModel:
        assert isinstance(config, ImitationConfig)
        return ImitationModel(self.backbone, layout, config, context_length, config.head)

    def draw(self, config: InContextConfig) -> Draw:
        assert isinstance(config, ImitationConfig)
        return draw_gaussian if config.head == "gaussian" else as_they_are


class ImitationLearner(InContextLearner):
    """Descends the squared error of the labels or, with the head "gaussian", their negative log-likelihood."""

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        assert isinstance(self.config, ImitationConfig)
        arrays = (batch.tokens, batch.targets, batch.mask)
        tokens, targets, mask = (torch.from_numpy(array).to(self.job.device) for array in arrays)
        gaussian = self.config.head == "gaussian"
        measure = masked_negative_log_likelihood if gaussian else masked_mean_squared_error
        return measure(self.predicted(tokens), targets, mask), {}


def draw_gaussian(predicted: torch.Tensor, generator: np.random.Generator) -> FloatArray:
    """(K, 2A) → (K, A): a sample of the distribution that the head gives."""
    mean, log_std = mean_and_log_std(predicted)
    noise = generator.standard_normal(mean.shape, dtype=np.float32)
    drawn: FloatArray = (mean + log_std.exp() * torch.from_numpy(noise)).numpy()
    return drawn
