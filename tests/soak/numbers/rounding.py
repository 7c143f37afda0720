"""What rounding in single precision may make of a formula: Monte Carlo arithmetic (Parker 1997, "Monte Carlo arithmetic").

The formula is computed in double precision, and every result on the way, those of its gradient too, is multiplied by 1 + δ with
|δ| ≤ 2⁻²⁴ drawn anew for each number, and moved by up to the least normal number, 2⁻¹²⁶, below which a processor may take a
number as zero; a zero stays one, or what a ReLU has closed would let gradients through. How far the end then lies from where
it lies without is what any order of operations in single precision may be off by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import get_decompositions
from torch.utils._python_dispatch import TorchDispatchMode

Tensor = torch.Tensor
ROUNDING, LEAST = 2.0**-24, 2.0**-126
DRAWS = 4

_aten = torch.ops.aten
#: Operations that have steps of their own, each of which rounds.
_STEPS = get_decompositions(
    [
        _aten._softmax, _aten._softmax_backward_data, _aten.native_layer_norm, _aten.native_layer_norm_backward,
        _aten.silu, _aten.silu_backward, _aten.softplus, _aten.softplus_backward, _aten.sigmoid_backward,
        _aten.tanh_backward,
    ]
)  # fmt: skip


class Rounded(TorchDispatchMode):
    """Within it, every operation on numbers of double precision is as inexact as one in single precision."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _STEPS:
            with self:
                return _STEPS[func](*args, **(kwargs or {}))
        out = func(*args, **(kwargs or {}))
        if any(
            each.alias_info is not None for each in func._schema.returns
        ):  # a view, or in place: nothing is computed
            return out
        return tuple(map(self._round, out)) if isinstance(out, list | tuple) else self._round(out)

    def _round(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype != torch.float64:
            return value
        first, second = (torch.rand(value.shape, generator=self.generator, dtype=value.dtype) * 2 - 1 for _ in range(2))
        return torch.where(value == 0, value, value * (1 + ROUNDING * first) + LEAST * second)


def wobble(compute: Callable[[], list[Tensor]]) -> list[float]:
    """Of each tensor that `compute` gives in double precision: how far rounding moved a number of it, of some draws.

    What is not finite, with or without, does not count.
    """
    exact, worst = compute(), []
    drawn = []
    for seed in range(DRAWS):
        with Rounded(seed):
            drawn.append(compute())
    for place, value in enumerate(exact):
        moved = [(each[place] - value).abs() for each in drawn]
        worst.append(max((float(each[each.isfinite()].max()) for each in moved if each.isfinite().any()), default=0.0))
    return worst
