"""K random streams, one a task: what a task draws depends on its own seed, never on the tasks it is trained with.

Each stream is a NumPy generator; a draw fills one row of a tensor with a leading task axis K. The states are plain
numbers, so that a resumed training continues every stream where it stood.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch


class Streams(Protocol):
    """What layers draw from."""

    @property
    def num_tasks(self) -> int: ...

    def normal(self, *shape: int) -> torch.Tensor: ...

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor: ...

    def bernoulli(self, probability: float, *shape: int) -> torch.Tensor: ...


class TaskStreams:
    """K independent generators that are drawn from together."""

    def __init__(self, seeds: Sequence[np.random.SeedSequence]) -> None:
        self._generators = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]

    @property
    def num_tasks(self) -> int:
        """K."""
        return len(self._generators)

    def repeated(self, copies: int) -> RepeatedStreams:
        """The same streams for `copies` networks a task, such as the two critics of a task."""
        return RepeatedStreams(self, copies)

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal numbers, (K, *shape) float32."""
        values = np.empty((self.num_tasks, *shape), dtype=np.float32)
        for generator, row in zip(self._generators, values, strict=True):
            generator.standard_normal(dtype=np.float32, out=row)
        return torch.from_numpy(values)

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """Uniform numbers in [low, high), (K, *shape) float32."""
        values = np.empty((self.num_tasks, *shape), dtype=np.float32)
        for generator, row in zip(self._generators, values, strict=True):
            generator.random(dtype=np.float32, out=row)
        return torch.from_numpy(values).mul_(high - low).add_(low)

    def bernoulli(self, probability: float, *shape: int) -> torch.Tensor:
        """Independent events of this probability, (K, *shape) bool.

        The gaps between events are geometric: a rare event costs one number for each time that it happens.
        """
        size = math.prod(shape)
        drawn = np.zeros((self.num_tasks, size), dtype=np.bool_)
        expected_count = int(size * probability + 4 * math.sqrt(size * probability)) + 1
        for generator, row in zip(self._generators, drawn, strict=True):
            last = -1
            while last < size - 1:
                events = last + generator.geometric(probability, expected_count).cumsum()
                row[events[events < size]] = True
                last = int(events[-1])
        return torch.from_numpy(drawn).reshape(self.num_tasks, *shape)

    def integers(self, high: int, *shape: int) -> torch.Tensor:
        """Uniform integers in [0, high), (K, *shape) int64."""
        values = np.empty((self.num_tasks, *shape), dtype=np.int64)
        for generator, row in zip(self._generators, values, strict=True):
            row[...] = generator.integers(high, size=shape)
        return torch.from_numpy(values)

    def permutations(self, length: int) -> torch.Tensor:
        """A permutation of 0 … length - 1 a task, (K, length) int64."""
        return torch.from_numpy(np.stack([generator.permutation(length) for generator in self._generators]))

    def state(self) -> list[Mapping[str, Any]]:
        """Where each stream stands, JSON-able."""
        return [generator.bit_generator.state for generator in self._generators]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Continues from what `state` gave."""
        for generator, value in zip(self._generators, state, strict=True):
            generator.bit_generator.state = value


class RepeatedStreams:
    """K streams that serve M networks each: draws have a leading axis K·M, the M networks of a task side by side."""

    def __init__(self, streams: TaskStreams, copies: int) -> None:
        self._streams = streams
        self._copies = copies

    @property
    def num_tasks(self) -> int:
        """K·M."""
        return self._streams.num_tasks * self._copies

    def normal(self, *shape: int) -> torch.Tensor:
        """See `TaskStreams.normal`; (K·M, *shape)."""
        return self._streams.normal(self._copies, *shape).flatten(0, 1)

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """See `TaskStreams.uniform`; (K·M, *shape)."""
        return self._streams.uniform(low, high, self._copies, *shape).flatten(0, 1)

    def bernoulli(self, probability: float, *shape: int) -> torch.Tensor:
        """See `TaskStreams.bernoulli`; (K·M, *shape)."""
        return self._streams.bernoulli(probability, self._copies, *shape).flatten(0, 1)
