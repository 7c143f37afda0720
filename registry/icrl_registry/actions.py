"""Discrete actions at the boundaries between harness and plugins: rows of A numbers, of which one is chosen.

An action has one shape everywhere, (…, A) float32, whatever its kind. Of A discrete actions the one with the largest number of
its row is executed, the first of equal ones; what was executed is recorded and shown one-hot: 1 at the action, 0 elsewhere. So
whoever samples returns one-hot rows, whoever scores its actions returns the scores, and a Gymnasium environment of the
`Discrete(A)` actions takes the action's number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from icrl_registry.arrays import Array, FloatArray

if TYPE_CHECKING:
    from icrl_registry.contracts import EnvironmentSpec

ActionKind = Literal["continuous", "discrete"]
CONTINUOUS: tuple[ActionKind, ...] = ("continuous",)


def action_numbers(actions: Array) -> NDArray[np.int64]:
    """Which action each row chooses: (…, A) → (…,) from 0 to A - 1."""
    numbers: NDArray[np.int64] = np.asarray(actions).argmax(axis=-1)
    return numbers


def one_hot(numbers: Array, num_actions: int) -> FloatArray:
    """Numbers of actions (…,) → their rows (…, A) float32."""
    rows: FloatArray = (np.asarray(numbers)[..., None] == np.arange(num_actions)).astype(np.float32)
    return rows


def executed(actions: FloatArray, spec: EnvironmentSpec) -> FloatArray:
    """What is executed of an agent's actions (…, A): clipped to [-1, 1], or the one-hot rows of what they choose."""
    if spec.actions == "discrete":
        return one_hot(action_numbers(actions), spec.action_size)
    clipped: FloatArray = np.clip(actions, -1.0, 1.0)
    return clipped


def for_gymnasium(action: Array, space: Any) -> Any:
    """A row (A,) as an environment with this action space takes it: the number of a `Discrete` action, else the row."""
    return int(action_numbers(action)) if is_discrete(space) else action


def is_discrete(space: Any) -> bool:
    """Whether a Gymnasium action space is `Discrete`."""
    from gymnasium.spaces import Discrete

    return isinstance(space, Discrete)
