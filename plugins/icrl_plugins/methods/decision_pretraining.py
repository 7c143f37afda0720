"""DPT: predict the action of a policy that has learned the task, from a context that has not (Lee et al. 2023).

Decision-Pretrained Transformers (arXiv 2306.14892), section 3, label a state with the optimal action given a context of
other transitions of the task; the model that results acts by the posterior over tasks. Here the contexts are the learning
histories that Algorithm Distillation takes, in order, and every step of them is labelled by what the final greedy policy of
the same source run would do in the observation stored there, as in OmniRL (Wang et al. 2025) and Vintix II. So nothing is
collected for it, and the target doesn't move along a history. At an empty context a squared error learns the mean of the
experts; `head=gaussian` learns their spread as well and is drawn from, which is DPT's posterior sampling.
"""

from __future__ import annotations

from typing import ClassVar

from icrl_plugins.methods.in_context.imitation import ImitationConfig, ImitationMethod
from icrl_plugins.methods.in_context.tokens import Labels, Stream
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array, FloatArray, TrainingJob
from icrl_registry.errors import UsageError


class DecisionPretrainingConfig(ImitationConfig):
    """What every method in context has; the labels are the final policy's."""


class DecisionPretraining(ImitationMethod):
    """Imitates experts of the training tasks in the context of their learning histories."""

    Config: ClassVar[type[ComponentConfig]] = DecisionPretrainingConfig
    name: ClassVar[str] = "dpt"

    def labels(self, job: TrainingJob) -> Labels:
        """What the final greedy policy of the stream's history would do in the stored observations.

        Raises:
            UsageError: the source can't give its policies back.
        """
        expert = job.expert_actions
        if expert is None:
            raise UsageError(
                "the source of these histories can't give its final policies back, and dpt learns from them",
                "choose a source with greedy_policy, such as --set source.name=sac, or a method without experts: ad",
            )

        def label(stream: Stream, steps: Array) -> FloatArray:
            return expert(stream.history, stream.observations[steps])

        return label
