"""Imitation in context: predict the labels of every step of a window. What the labels are is the whole method.

Algorithm Distillation labels each step with what the learning source did there and so distils learning itself; DPT labels
it with what the source's final policy would do and so distils the posterior over tasks. Both were published for discrete
actions, whose distribution is learnt by its cross entropy and drawn from.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

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
    masked_cross_entropy,
    masked_mean_squared_error,
    masked_negative_log_likelihood,
    mean_and_log_std,
)
from icrl_plugins.methods.in_context.sampling import TokenBatch
from icrl_plugins.methods.in_context.tokens import Labels
from icrl_registry.actions import ActionKind, one_hot
from icrl_registry.contracts import FloatArray, TrainingJob

LOSSES = {
    "linear": masked_mean_squared_error,
    "tanh": masked_mean_squared_error,
    "gaussian": masked_negative_log_likelihood,
    "categorical": masked_cross_entropy,
}


class ImitationConfig(InContextConfig):
    """What the action head gives."""

    head: Literal["linear", "tanh", "gaussian"] = Field(
        "linear",
        description="What the head of continuous actions gives: actions (linear ones are clipped) for the squared error, or "
        "mean and spread for the likelihood, from which actions are drawn. Discrete ones are drawn from a softmax.",
    )
    temperature: float = Field(
        1.0, ge=0, description="Of the softmax that discrete actions are drawn from; 0: the likeliest action."
    )


class ImitationMethod(InContextMethod):
    """Regression on labels; a subclass says which."""

    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous", "discrete")
    config: ImitationConfig

    @abstractmethod
    def labels(self, job: TrainingJob) -> Labels:
        """What is to be predicted at every step of a stream."""

    def make_learner(self, job: TrainingJob) -> InContextLearner:
        return ImitationLearner(self, job, self.labels(job))

    def make_model(self, config: InContextConfig, layout: TokenLayout, context_length: int) -> InContextModel:
        assert isinstance(config, ImitationConfig)
        return ImitationModel(self.backbone, layout, config, context_length, head_of(config, layout))

    def draw(self, config: InContextConfig, layout: TokenLayout) -> Draw:
        assert isinstance(config, ImitationConfig)
        if layout.discrete_actions:
            return draw_categorical(config.temperature)
        return draw_gaussian if config.head == "gaussian" else as_they_are


def head_of(config: ImitationConfig, layout: TokenLayout) -> Head:
    """The head that fits the environment's actions."""
    return "categorical" if layout.discrete_actions else config.head


class ImitationLearner(InContextLearner):
    """Descends the squared error of the labels or, with the heads that give a distribution, their negative log-likelihood."""

    def loss(self, batch: TokenBatch) -> tuple[torch.Tensor, dict[str, float]]:
        assert isinstance(self.config, ImitationConfig)
        arrays = (batch.tokens, batch.targets, batch.mask)
        tokens, targets, mask = (torch.from_numpy(array).to(self.job.device) for array in arrays)
        measure = LOSSES[head_of(self.config, self.model.layout)]
        return measure(self.predicted(tokens), targets, mask), {}


def draw_gaussian(predicted: torch.Tensor, generator: np.random.Generator) -> FloatArray:
    """(K, 2A) → (K, A): a sample of the distribution that the head gives."""
    mean, log_std = mean_and_log_std(predicted)
    noise = generator.standard_normal(mean.shape, dtype=np.float32)
    drawn: FloatArray = (mean + log_std.exp() * torch.from_numpy(noise)).numpy()
    return drawn


def draw_categorical(temperature: float) -> Draw:
    """Logits (K, A) → one-hot actions (K, A), drawn from the softmax of logits / temperature; of 0, the likeliest."""

    def draw(predicted: torch.Tensor, generator: np.random.Generator) -> FloatArray:
        logits = predicted.numpy().astype(np.float64)
        if temperature > 0:
            logits = logits / temperature + generator.gumbel(
                size=logits.shape
            )  # the largest is a sample of the softmax
        return one_hot(logits.argmax(axis=-1), logits.shape[-1])

    return draw
