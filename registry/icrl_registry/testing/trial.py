"""What the conformance checks share: the plugin on trial, how a check fails, and comparisons in words."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from icrl_registry.actions import ActionKind
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Array, Environment
from icrl_registry.discovery import Plugin


class ConformanceError(AssertionError):
    """A plugin breaks its contract; the message says where and what was expected."""


@dataclass(frozen=True, eq=False)  # eq=False: hashed by identity, as a configuration need not be hashable
class Trial:
    """A plugin with the configuration in which it is checked."""

    plugin: Plugin
    config: ComponentConfig
    backbone: Plugin | None = None  # what a method is tried with; None: a toy
    environment: Environment | None = None  # what a source or method is tried in; None: a toy

    @property
    def component(self) -> type[Any]:
        return self.plugin.component

    @property
    def name(self) -> str:
        return self.plugin.entry.name

    def make(self, *arguments: Any, **keywords: Any) -> Any:
        """A new instance: the configuration first, then what the kind of component takes besides."""
        return self.component(self.config, *arguments, **keywords)


Check = Callable[[Trial], str | None]
"""Raises `ConformanceError`, or returns a remark if there is one."""


def require(condition: bool, message: str) -> None:
    """Fails the check with `message` unless `condition` holds."""
    if not condition:
        raise ConformanceError(message)


def require_action_kinds(trial: Trial) -> None:
    """That a source or method says which kinds of action it learns."""
    kinds, known = tuple(trial.component.action_kinds), get_args(ActionKind)
    expected = " or ".join(repr(kind) for kind in known)
    require(bool(kinds) and set(kinds) <= set(known), f"action_kinds are {kinds}, expected {expected}, or both")


def require_array(name: str, value: Any, shape: tuple[int, ...], dtype: Any = None) -> None:
    """A finite array of this shape (and dtype)."""
    require(isinstance(value, np.ndarray), f"{name} is a {type(value).__name__}, not a NumPy array")
    require(value.shape == shape, f"{name} has shape {value.shape}, expected {shape}")
    if dtype is not None:
        require(value.dtype == dtype, f"{name} is {value.dtype}, expected {np.dtype(dtype)}")
    if value.dtype.kind in "fc":
        require(bool(np.isfinite(value).all()), f"{name} has a NaN or an infinity")


def require_equal(name: str, first: Any, second: Any, why: str) -> None:
    """Two arrays (or values) equal to the last bit."""
    if not np.array_equal(np.asarray(first), np.asarray(second)):
        raise ConformanceError(f"{name} differs {why} ({difference(first, second)})")


def difference(first: Any, second: Any) -> str:
    """How far apart two arrays are, for a message."""
    left, right = np.asarray(first), np.asarray(second)
    if left.shape != right.shape:
        return f"shapes {left.shape} and {right.shape}"
    if left.dtype.kind not in "fiub":
        return f"{first!r} and {second!r}"
    gaps = np.abs(left.astype(np.float64) - right.astype(np.float64))
    return f"by {gaps.max():.3g}, at {int((gaps > 0).sum())} of {gaps.size} places"


def require_equal_tensors(first: Mapping[str, Array], second: Mapping[str, Array], why: str) -> None:
    """Two collections of named tensors equal to the last bit."""
    require(set(first) == set(second), f"the names of the tensors differ {why}: {sorted(set(first) ^ set(second))}")
    for name in sorted(first):
        require_equal(f"tensor '{name}'", first[name], second[name], why)


@contextlib.contextmanager
def unchanged_global_randomness() -> Iterator[None]:
    """Fails if the block leaves a global generator (`random`, NumPy, torch if imported) in another state."""
    before = _global_states()
    yield
    after = _global_states()
    for name, state in before.items():
        require(
            state == after[name],
            f"the global generator of {name} was advanced or reseeded; draw from a generator made from the seed given",
        )


def _global_states() -> dict[str, bytes]:
    kind, keys, position, *rest = np.random.get_state()  # noqa: NPY002
    states = {
        "random": repr(random.getstate()).encode(),
        "numpy.random": repr((kind, np.asarray(keys).tobytes(), position, rest)).encode(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        states["torch"] = torch.get_rng_state().numpy().tobytes()
    return states


@contextlib.contextmanager
def fixed_torch_generator(seed: int) -> Iterator[None]:
    """torch's default generator starts from `seed` inside and is put back afterwards."""
    import torch

    before = torch.get_rng_state()
    torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
    try:
        yield
    finally:
        torch.set_rng_state(before)
