"""Speeds of stages that were made, and the choice of the one that is most like the work at hand.

A unit of work is an environment step in collecting and adapting, and an update in training.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from statistics import median
from typing import Any

#: Settings that a unit's time depends on. Those that are numbers are taken to change it in proportion.
COSTLY = (
    *("method.batch_size", "method.context_length", "method.inner_batch_size", "method.outer_batch_size"),
    *("method.hidden_size", "method.hidden_sizes", "method.episodes_per_window", "method.validation_every"),
    *("backbone.model_size", "backbone.num_layers", "adapt.validation_episodes"),
    *("source.hidden_sizes", "source.gradient_steps", "source.batch_size", "source.num_envs", "source.rollout_length"),
)
PROPORTIONAL = frozenset(
    (
        *("method.batch_size", "method.context_length", "method.inner_batch_size", "method.outer_batch_size"),
        *("backbone.model_size", "backbone.num_layers", "source.gradient_steps"),
    )
)


@dataclass(frozen=True)
class Subject:
    """What is timed: a kind of stage, of an algorithm, on an environment, with the settings that cost time."""

    kind: str  # collect, train or adapt
    algorithm: str  # the source, or the method as the user writes it
    environment: str
    device: str = "cpu"
    settings: Mapping[str, Any] = field(default_factory=dict)  # by dotted key, of `COSTLY`

    @property
    def family(self) -> str:
        """The environment without its version."""
        return re.sub(r"-v\d+$", "", self.environment)

    @property
    def processor(self) -> str:
        """The device without its number."""
        return self.device.split(":")[0]

    @property
    def backbone(self) -> str:
        """The last part of METHOD-BACKBONE; empty for a source, and for a method whose name has one part."""
        method, _, backbone = self.algorithm.rpartition("-")
        return backbone if method and self.kind != "collect" else ""


@dataclass(frozen=True)
class Speed:
    """The time that one unit took."""

    of: Subject
    seconds: float  # a unit


def costly_settings(config: Mapping[str, Mapping[str, Any]], sections: Iterable[str]) -> dict[str, Any]:
    """Of a run's configuration, by section, what a unit's time depends on; lists as JSON has them."""
    chosen = set(sections)
    found = {}
    for key in COSTLY:
        section, _, name = key.partition(".")
        value = config.get(section, {}).get(name) if section in chosen else None
        if value is not None:
            found[key] = list(value) if isinstance(value, tuple) else value
    return found


class Nearness(IntEnum):
    """How far from the work at hand a speed may lie."""

    SAME = 0  # the algorithm, on the environment in any version
    ELSEWHERE = 1  # the algorithm, on another environment
    BACKBONE = 2  # another method with the same backbone


def seconds_per_unit(speeds: Iterable[Speed], wanted: Subject, nearness: Nearness) -> float | None:
    """Seconds a unit, from the speeds that are most like what is wanted; None where none is near enough.

    Of equally like ones the median counts.
    """
    fit = [speed for speed in speeds if _is_near(speed.of, wanted, nearness)]
    if not fit:
        return None
    nearest = max(_likeness(speed.of, wanted) for speed in fit)
    return median(
        speed.seconds * _proportion(speed.of, wanted) for speed in fit if _likeness(speed.of, wanted) == nearest
    )


def _is_near(one: Subject, other: Subject, nearness: Nearness) -> bool:
    if (one.kind, one.processor) != (other.kind, other.processor):
        return False
    if nearness is Nearness.BACKBONE:
        return bool(other.backbone) and one.backbone == other.backbone
    return one.algorithm == other.algorithm and (nearness is Nearness.ELSEWHERE or one.family == other.family)


def _likeness(one: Subject, other: Subject) -> tuple[bool, int, bool]:
    equal = sum(one.settings.get(key) == value for key, value in other.settings.items())
    return one.family == other.family, equal, one.environment == other.environment


def _proportion(known: Subject, wanted: Subject) -> float:
    """How much longer a unit takes with the wanted settings, as far as they are numbers on both sides."""
    ratio = 1.0
    for key in PROPORTIONAL:
        before, after = known.settings.get(key), wanted.settings.get(key)
        if isinstance(before, int | float) and isinstance(after, int | float) and before > 0 and after > 0:
            ratio *= after / before
    return ratio
