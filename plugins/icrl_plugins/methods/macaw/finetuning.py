"""Going on with ordinary gradient updates on the agent's own data after an adaptation, task by task.

Mitchell et al. 2021, section 5.1 (online fine-tuning): after each episode, updates of the value network on Monte-Carlo
returns, then advantage-weighted updates of the policy, from the adapted parameters, all on the episodes played since. What is
tuned here are the weights that the layers generate, not latents and generators: those are a hundred times as many numbers,
and for every task. At an equal learning rate the generated weights then move about half as fast as published.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from icrl_plugins.methods.macaw.meta_learning import MetaBatch, MetaLearner


class TaskTuning:
    """One task's own weights of both networks with their optimisers."""

    def __init__(self, learner: MetaLearner, value: list[Tensor], policy: list[Tensor]) -> None:
        """`value` and `policy` are the adapted weights, (1, P) for each layer; they are copied."""
        self.learner = learner
        self.value = [weights.detach().clone().requires_grad_() for weights in value]
        self.policy = [weights.detach().clone().requires_grad_() for weights in policy]
        rate = learner.config.finetune_learning_rate
        self._value_optimiser = torch.optim.Adam(self.value, lr=rate)
        self._policy_optimiser = torch.optim.Adam(self.policy, lr=rate)

    def update(self, draw: Callable[[], MetaBatch]) -> None:
        """The updates after one episode; `draw` gives a batch (K = 1) of the task's own transitions."""
        config, learner = self.learner.config, self.learner
        for _ in range(config.finetune_value_updates):
            self._step(self._value_optimiser, learner.inner_value_losses(self.value, draw()))
        for _ in range(config.finetune_policy_updates):
            batch = draw()
            losses = learner.policy_losses(self.policy, batch, learner.advantages(self.value, batch))
            self._step(self._policy_optimiser, losses)

    @staticmethod
    def _step(optimiser: torch.optim.Optimizer, losses: Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        inputs = [weights for group in optimiser.param_groups for weights in group["params"]]
        gradients = torch.autograd.grad(
            losses.sum(), inputs, allow_unused=True
        )  # the policy's loss has no advantage head
        for weights, gradient in zip(inputs, gradients, strict=True):
            weights.grad = gradient
        optimiser.step()
