"""Adam (Kingma & Ba, 2015, algorithm 1) over stacked parameters, with moments that go into checkpoints by name.

It works element by element, so one step of stacked tensors is one step of each network's own Adam. The steps are PyTorch's
fused ones, whose bits depend neither on an element's place in a tensor nor on the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.optim.adam import adam

from icrl_registry.contracts import Array

_MOMENTS = ("exp_avg", "exp_avg_sq")


class Adam:
    """Steps on the `.grad` of parameters; every one of them has a gradient at every step.

    It calls the function below `torch.optim.Adam`: what that class does around it takes as long as a step of small networks.

    Attributes:
        learning_rate: of the next step; may be set.
        steps: taken so far.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self.learning_rate = learning_rate
        self.steps = 0
        self._parameters = dict(parameters)
        self._betas, self._epsilon = betas, epsilon
        self._tensors = [parameter.detach() for parameter in parameters.values()]  # the same memory
        self._first = [torch.zeros_like(tensor) for tensor in self._tensors]  # moments
        self._second = [torch.zeros_like(tensor) for tensor in self._tensors]
        self._counts = [torch.zeros(()) for _ in self._tensors]  # steps, as PyTorch counts them

    @torch.no_grad()
    def step(self) -> None:
        """One step of every parameter."""
        self.steps += 1
        beta1, beta2 = self._betas
        gradients = [parameter.grad for parameter in self._parameters.values() if parameter.grad is not None]
        adam(
            self._tensors, gradients, self._first, self._second, [], self._counts,
            fused=True, amsgrad=False, beta1=beta1, beta2=beta2, lr=self.learning_rate, weight_decay=0.0,
            eps=self._epsilon, maximize=False,
        )  # fmt: skip

    def tensors(self) -> dict[str, Array]:
        """The moments, as `optimiser.NAME.KEY`, zeros before the first step; the number of steps is the caller's to keep."""
        return {name: moment.numpy().copy() for name, moment in self._moments().items()}

    def restore(self, tensors: Mapping[str, Array], steps: int) -> None:
        """Goes on from what `tensors` gave."""
        self.steps = steps
        for count in self._counts:
            count.fill_(steps)
        for name, moment in self._moments().items():
            moment.copy_(torch.from_numpy(tensors[name].copy()))

    def _moments(self) -> dict[str, torch.Tensor]:
        return {
            f"optimiser.{name}.{key}": moment
            for key, moments in zip(_MOMENTS, (self._first, self._second), strict=True)
            for name, moment in zip(self._parameters, moments, strict=True)
        }
