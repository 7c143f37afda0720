"""How a training went, beside its run: the thinned curve of what the method reported. It is no part of a run's record.

A record is the same on every machine; the curve belongs to the checkpoint, and is at hand where the checkpoint is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

UPDATES = "updates"


@dataclass(frozen=True)
class Series:
    """One reported quantity: `places` (N,) updates, `values` (N,)."""

    name: str
    places: tuple[float, ...]
    values: tuple[float, ...]

    def binned(self, most: int) -> list[float]:
        """The values as at most `most` means over neighbours, in order; all of them where there are fewer."""
        count = min(most, len(self.values))
        return [float(part.mean()) for part in np.array_split(np.asarray(self.values), count)]


@dataclass(frozen=True)
class TrainingLog:
    """What a training reported: points with their `updates` and named numbers, in order."""

    points: tuple[Mapping[str, float], ...]
    seconds: float  # wall-clock of the whole training, over all its interrupted parts

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> TrainingLog:
        """The log in a checkpoint's manifest; points that are no numbers by name are left out."""
        points = manifest.get("curve")
        kept = []
        for point in points if isinstance(points, list) else []:
            numbers = {name: float(value) for name, value in point.items() if _is_number(value)}
            if UPDATES in numbers:
                kept.append(numbers)
        seconds = manifest.get("seconds", 0.0)
        return cls(tuple(kept), float(seconds) if _is_number(seconds) else 0.0)

    @property
    def updates(self) -> int:
        """Updates that were made; 0 where nothing was reported."""
        return int(self.points[-1][UPDATES]) if self.points else 0

    @property
    def updates_per_second(self) -> float | None:
        """Over the whole training, validation included; None where nothing was timed."""
        return self.updates / self.seconds if self.updates and self.seconds > 0 else None

    def steps_per_second(self, config: Mapping[str, Any]) -> float | None:
        """Environment steps of the contexts that went through the model a second: updates · batch_size · context_length.

        `config` is a record's; None where its method has no fixed context.
        """
        method = config.get("method")
        sizes = [method.get(name) for name in ("batch_size", "context_length")] if isinstance(method, Mapping) else []
        known = [each for each in sizes if isinstance(each, int)]
        if self.updates_per_second is None or len(known) != 2:
            return None
        return self.updates_per_second * known[0] * known[1]

    def series(self) -> list[Series]:
        """Every quantity that was reported, in the order in which they first were."""
        names = dict.fromkeys(name for point in self.points for name in point if name != UPDATES)
        found: list[Series] = []
        for name in names:
            pairs = [(point[UPDATES], point[name]) for point in self.points if name in point]
            found.append(Series(name, tuple(place for place, _ in pairs), tuple(value for _, value in pairs)))
        return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def spark(values: Sequence[float], levels: str = "▁▂▃▄▅▆▇█") -> str:
    """The values as one line of blocks, the smallest the lowest; a constant stands in the middle."""
    low, high = min(values), max(values)
    if not high > low:
        return levels[len(levels) // 2] * len(values)
    scale = (len(levels) - 1) / (high - low)
    return "".join(levels[round((value - low) * scale)] for value in values)
