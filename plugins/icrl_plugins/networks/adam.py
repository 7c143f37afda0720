"""Adam (Kingma & Ba, 2015, algorithm 1) for many small updates: one pass over each tensor, no bookkeeping around it.

It works element by element, so one step of stacked tensors is one step of each network's own Adam. The numbers are those
of `torch.optim.Adam` up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from icrl_plugins.kernels.runtime.jit import compiled
from icrl_registry.contracts import Array


@compiled
def _step(parameter, gradient, first, second, rate, beta1, beta2, epsilon, step):  # type: ignore[no-untyped-def]
    """All flat. first and second moments, and the parameter, in place."""
    number = parameter.dtype.type
    old1, new1, old2, new2 = number(beta1), number(1.0 - beta1), number(beta2), number(1.0 - beta2)
    size = number(rate / (1.0 - beta1**step))
    correction, least = number((1.0 - beta2**step) ** -0.5), number(epsilon)
    for i in range(parameter.size):
        g = gradient[i]
        m = old1 * first[i] + new1 * g
        v = old2 * second[i] + new2 * g * g
        first[i] = m
        second[i] = v
        parameter[i] -= size * m / (v**0.5 * correction + least)


class Adam:
    """Steps on the `.grad` of contiguous parameters on the CPU."""

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
        self._moments = {name: self._zeros(parameter) for name, parameter in parameters.items()}

    @staticmethod
    def _zeros(parameter: nn.Parameter) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros_like(parameter), torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self) -> None:
        """One step of every parameter."""
        self.steps += 1
        for name, parameter in self._parameters.items():
            assert parameter.grad is not None
            tensors = (parameter, parameter.grad, *self._moments[name])
            flat = [tensor.detach().view(-1).numpy() for tensor in tensors]
            _step(*flat, self.learning_rate, *self._betas, self._epsilon, self.steps)

    def tensors(self) -> dict[str, Array]:
        """The moments, as `optimiser.NAME.KEY`; the number of steps is the caller's to keep."""
        return {
            f"optimiser.{name}.{key}": moment.numpy().copy()
            for name, moments in self._moments.items()
            for key, moment in zip(_KEYS, moments, strict=True)
        }

    def restore(self, tensors: Mapping[str, Array], steps: int) -> None:
        """Goes on from what `tensors` gave."""
        self.steps = steps
        for name, moments in self._moments.items():
            for key, moment in zip(_KEYS, moments, strict=True):
                moment.copy_(torch.from_numpy(tensors[f"optimiser.{name}.{key}"].copy()))


_KEYS = ("exp_avg", "exp_avg_sq")
