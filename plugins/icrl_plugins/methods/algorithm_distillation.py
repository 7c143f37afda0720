"""Algorithm Distillation: imitate whole learning histories, and so learn to learn in context.

Laskin et al. 2022 (arXiv 2210.14215), equation 1, for continuous actions: the likelihood of the source's actions given the
across-episode history before them, under a Gaussian of learnt spread, or of fixed spread, which is the mean squared error.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from icrl_plugins.methods.in_context.imitation import ImitationConfig, ImitationMethod
from icrl_plugins.methods.in_context.tokens import Labels, executed_actions, policy_means
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import TrainingJob


class AlgorithmDistillationConfig(ImitationConfig):
    """What is distilled, beside what every method in context has."""

    targets: Literal["executed", "policy_means"] = Field(
        "executed", description="Regress on the executed actions, or on the source policy's means where recorded."
    )

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if self.head == "gaussian" and self.targets == "policy_means":
            raise ValueError("head gaussian learns how executed actions spread; policy_means have no spread")
        return self


class AlgorithmDistillation(ImitationMethod):
    """Distils the source algorithm into a causal sequence model that improves in context."""

    Config: ClassVar[type[ComponentConfig]] = AlgorithmDistillationConfig
    name: ClassVar[str] = "ad"
    config: AlgorithmDistillationConfig

    def labels(self, job: TrainingJob) -> Labels:
        """The executed actions, or the source policy's means."""
        return policy_means if self.config.targets == "policy_means" else executed_actions
