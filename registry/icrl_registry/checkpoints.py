"""What a component saves of itself: a trained method, or the progress of a training that goes on later."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from icrl_registry.arrays import Array


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors and a JSON-able state; stored as safetensors and JSON."""

    tensors: Mapping[str, Array]
    state: Mapping[str, Any]


class CheckpointStore(Protocol):
    """Where a method, or a source, keeps its progress. Each save replaces the last one atomically."""

    @abstractmethod
    def load(self) -> Checkpoint | None:
        """The last saved progress, or None at the first start."""

    @abstractmethod
    def save(self, checkpoint: Checkpoint) -> None:
        """Keeps progress: everything that a resumed training needs to end with the same bytes."""

    def due(self) -> bool:
        """Whether so much was done since the last save that another one is worth its time. What is trained must not
        depend on the answer."""
        return True
