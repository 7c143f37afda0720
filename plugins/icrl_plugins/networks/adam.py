"""Adam (Kingma & Ba, 2015, algorithm 1) over stacked parameters, with moments that go into checkpoints by name.

It works element by element, so one step of stacked tensors is one step of each network's own Adam. The steps are PyTorch's
fused ones, whose bits depend neither on an element's place in a tensor nor on the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from icrl_registry.contracts import Array

_MOMENTS = ("exp_avg", "exp_avg_sq")


class Adam:
    """Steps on the `.grad` of parameters; every one of them has a gradient at every step."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self.steps = 0
        self._parameters = dict(parameters)
        self._optimiser = torch.optim.Adam(parameters.values(), learning_rate, betas, epsilon, fused=True)
        (self._group,) = self._optimiser.param_groups

    @property
    def learning_rate(self) -> float:
        """Of the next step; may be set."""
        return float(self._group["lr"])

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._group["lr"] = rate

    def step(self) -> None:
        """One step of every parameter."""
        self.steps += 1
        self._optimiser.step()

    def tensors(self) -> dict[str, Array]:
        """The moments, as `optimiser.NAME.KEY`, zeros before the first step; the number of steps is the caller's to keep."""
        return {
            f"optimiser.{name}.{key}": self._moment(parameter, key).numpy().copy()
            for name, parameter in self._parameters.items()
            for key in _MOMENTS
        }

    def _moment(self, parameter: nn.Parameter, key: str) -> torch.Tensor:
        state = self._optimiser.state.get(parameter, {})
        return state[key] if key in state else torch.zeros_like(parameter, requires_grad=False)

    def restore(self, tensors: Mapping[str, Array], steps: int) -> None:
        """Goes on from what `tensors` gave."""
        self.steps = steps
        for name, parameter in self._parameters.items():
            moments = {key: torch.from_numpy(tensors[f"optimiser.{name}.{key}"].copy()) for key in _MOMENTS}
            self._optimiser.state[parameter] = {"step": torch.tensor(float(steps)), **moments}
