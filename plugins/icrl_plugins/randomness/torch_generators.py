"""Random streams that belong to a run: torch code that only knows the default generator draws from them too.

`torch.nn.init`, dropout and `torch.randn` take no generator argument. `default_generator` lends them one for a while
and leaves the process's own state as it was: no component disturbs another, no result depends on what ran before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def torch_generator(seed: np.random.SeedSequence, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator on `device` whose stream is determined by `seed`."""
    generator = torch.Generator(device=device)
    generator.manual_seed(int(seed.generate_state(1, np.uint64)[0]))
    return generator


@contextmanager
def default_generator(generator: torch.Generator) -> Iterator[None]:
    """For its duration, the default generator of `generator`'s device continues `generator`'s stream.

    Afterwards `generator` stands where the stream was left, and the default generator where it was before, also when
    the block raises.
    """
    outer_state = _default_state(generator.device)
    _set_default_state(generator.device, generator.get_state())
    try:
        yield
    finally:
        generator.set_state(_default_state(generator.device))
        _set_default_state(generator.device, outer_state)


def _default_state(device: torch.device) -> torch.Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_default_state(device: torch.device, state: torch.Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
