"""Gradient updates that can stop anywhere and continue to the same bytes.

All that an update depends on is its number, the parameters, the optimiser's moments and the generators.
`GradientTraining` holds exactly these, takes one update at a time, and turns itself into named arrays and back.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from icrl_plugins.randomness.seeds import child_seed
from icrl_plugins.randomness.torch_generators import default_generator, torch_generator
from icrl_plugins.training.checkpoints import (
    generator_tensors,
    load_generators,
    load_module,
    load_optimiser,
    module_tensors,
    optimiser_tensors,
)
from icrl_plugins.training.optimisation import OptimisationConfig, build_optimiser, learning_rate
from icrl_registry.contracts import Array
from icrl_registry.errors import NumericalError

Batch = TypeVar("Batch")


class GradientTraining:
    """A module being trained by AdamW for a known number of updates, with its own random stream for dropout.

    `optimiser` takes the place of the one that the configuration gives; the rate of each of its groups is the schedule's,
    times the group's `rate_factor` if it has one.
    """

    def __init__(
        self,
        module: nn.Module,
        config: OptimisationConfig,
        num_updates: int,
        seed: np.random.SeedSequence,
        optimiser: torch.optim.Optimizer | None = None,
    ) -> None:
        self.module = module
        self.config = config
        self.num_updates = num_updates
        self.update = 0  # updates done
        self.optimiser: torch.optim.Optimizer = optimiser or build_optimiser(module, config)
        self.device = next(module.parameters()).device
        self._generator = torch_generator(child_seed(seed, 0), self.device)

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        return learning_rate(self.update, self.num_updates, self.config)

    def step(self, compute_loss: Callable[[], torch.Tensor]) -> float:
        """One update on the scalar that `compute_loss` returns; gives that scalar.

        Raises:
            NumericalError: the loss or its gradient is not finite; the parameters are left as they were.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * group.get("rate_factor", 1.0)
        self.module.train()
        self.optimiser.zero_grad(set_to_none=True)
        with default_generator(self._generator):
            loss = compute_loss()
            torch.autograd.backward(loss)
        value = float(loss.detach())
        self._require_finite("loss", value)
        limit = float("inf") if self.config.gradient_clip is None else self.config.gradient_clip
        self._require_finite("gradient's norm", float(nn.utils.clip_grad_norm_(self.module.parameters(), limit)))
        self.optimiser.step()
        self.update += 1
        return value

    def _require_finite(self, what: str, value: float) -> None:
        if not np.isfinite(value):
            raise NumericalError(
                f"the {what} is {value} at update {self.update + 1} of {self.num_updates}",
                f"try a lower rate: --set method.learning_rate={self.config.learning_rate / 3:.1g}",
            )

    def tensors(self) -> dict[str, Array]:
        """Parameters, moments and generators: with the number of updates done, everything needed to continue."""
        return {
            **module_tensors(self.module),
            **optimiser_tensors(self.optimiser, self.module),
            **generator_tensors({"training": self._generator}),
        }

    def resume(self, tensors: Mapping[str, Array], update: int) -> None:
        """Continues after `update` updates from what `tensors` gave."""
        load_module(self.module, tensors)
        load_optimiser(self.optimiser, self.module, tensors)
        load_generators({"training": self._generator}, tensors)
        self.update = update


def prefetched(make_batch: Callable[[int], Batch], first: int, last: int) -> Generator[Batch, None, None]:
    """The batches `first` … `last` - 1, each made by a thread while its predecessor is in use.

    `make_batch` must be a function of the number alone: then the thread changes nothing but the waiting.
    """
    if first >= last:
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
        pending = pool.submit(make_batch, first)
        for number in range(first, last):
            batch = pending.result()
            if number + 1 < last:
                pending = pool.submit(make_batch, number + 1)
            yield batch
