"""The arrays that pass between harness and plugins, by their element type; shapes are in the comments beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FloatArray = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def holds_row(rows: Array, row: Array) -> bool:
    """Whether a row (P,) is one of rows (N, P), to the six decimals that protocols keep of a task's parameters."""
    return bool((np.abs(rows - np.asarray(row)).max(axis=1) <= 1e-6).any())
