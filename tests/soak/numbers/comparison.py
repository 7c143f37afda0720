"""Numbers of every kind, and what a kernel owes the formula that it computes.

A kernel may be off by a few times what the formula itself is off in single precision, and has to be finite wherever that is.
What an infinity or NaN makes of one row may not reach a row that doesn't depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..ledgers.ledger import Ledger, Size
from .rounding import ROUNDING, wobble

Tensor = torch.Tensor
SCALES = {"usual": 1.0, "tiny": 1e-3, "denormal": 1e-39, "large": 30.0, "zero": 0.0}
BROKEN = {"inf": np.inf, "-inf": -np.inf, "nan": np.nan}
LENGTHS = (0, 1, 2, 3, 7, 15, 16, 17, 33, 65, 130)
#: What is off by less is right: the least normal number, 2⁻¹²⁶, a thousand times.
LEAST_ERROR = 1e-35
WIDTHS = (1, 2, 3, 4, 7, 8, 9, 16, 17, 32, 33)


class Draw:
    """Tensors of one scale; `broken` puts an infinity or NaN into the last step of the first."""

    def __init__(self, seed: int, scale: str, broken: str | None) -> None:
        self.generator, self.scale, self.broken = np.random.default_rng(seed), SCALES[scale], broken
        self.breaks = broken is not None

    def __call__(self, *shape: int, negative: bool = False, whole: bool = False) -> Tensor:
        """`negative`: nothing above zero; `whole`: of the usual scale, and finite."""
        values = self.generator.normal(size=shape) * (1.0 if whole else self.scale)
        if self.broken and values.size and len(shape) > 2 and not whole:
            values[..., -1, 0] = BROKEN[self.broken]
            self.broken = None
        return torch.as_tensor(-np.abs(values) if negative else values, dtype=torch.float32)


@dataclass
class Case:
    """An operation in two forms, and what it is given.

    Attributes:
        kernel: what is tried; takes `tensors`.
        formula: the same in plain PyTorch, in the precision of what it is given.
        tensors: all inputs, first those with a row for each element of the batch, then parameters.
        parameters: how many of the last inputs are parameters. A broken row reaches all of their gradients.
        fixed: how many of the first inputs the kernel has no gradient for.
        unit: the size of numbers on the way, where rounding them is what the result is off by; the results' own if None.
        rounding: of the tensors and the outputs' gradient, bounds on what the kernel's algorithm may be off by where it
            rounds numbers that the formula does not have: for each element of the value and of the gradients.
    """

    kernel: Callable[..., Tensor]
    formula: Callable[..., Tensor]
    tensors: list[Tensor]
    parameters: int
    fixed: int = 0
    unit: float = 0.0
    rounding: Callable[..., list[Tensor]] | None = None


def values_and_gradients(
    operation: Callable[..., Tensor], case: Case, direction: Tensor, dtype: torch.dtype
) -> list[Tensor]:
    """What an operation computes, and the gradients of its product with `direction`."""
    tensors = [tensor.to(dtype).clone() for tensor in case.tensors]
    for tensor in tensors[case.fixed :]:
        tensor.requires_grad_()
    out = operation(*tensors)
    gradients: tuple[Tensor | None, ...] = (None,) * (len(tensors) - case.fixed)
    if out.requires_grad:  # of no step at all the state is the zero that it began with
        gradients = torch.autograd.grad(out, tensors[case.fixed :], direction.to(out.dtype), allow_unused=True)
    zeros = (torch.zeros_like(tensor) for tensor in tensors[case.fixed :])
    return [out.detach(), *(given if zero is None else zero for zero, given in zip(gradients, zeros, strict=True))]


def problem(ours: Tensor, single: Tensor, double: Tensor, unit: float, moved: Callable[[], float]) -> str | None:
    """How a kernel's result differs from the formula's more than the formula in single precision does.

    How much that is, the formula's own result tells, unless it was lucky: it has few numbers, or takes its sums in the one
    order in which what must cancel cancels. Then `moved` is asked what rounding may do.
    """
    if ours.shape != double.shape:
        return f"shape {tuple(ours.shape)}, not {tuple(double.shape)}"
    good = torch.isfinite(single) & torch.isfinite(double)
    if not torch.isfinite(ours[good]).all():
        return "not finite where the formula is"
    if not good.any():
        return None
    scale = max(double[good].abs().max().item(), unit)
    allowed = 8 * (single[good] - double[good]).abs().max().item() + 64 * ROUNDING * scale + LEAST_ERROR
    found = (ours[good] - double[good]).abs().max().item()
    if found > allowed:
        allowed += moved()
    return None if found <= allowed else f"off by {found:.3g}, allowed {allowed:.3g}"


def largest(numbers: Tensor) -> float:
    """The largest absolute value of those that are finite; 0 of none."""
    finite = numbers[numbers.isfinite()]
    return float(finite.abs().max()) if len(finite) else 0.0


def first_problem(case: Case, draw: Draw) -> str | None:
    """The first of the value and the gradients that is not as the formula's."""
    with torch.no_grad():
        shape = case.formula(*case.tensors).shape
    direction = draw(*shape, whole=True)
    kernel, single, double = (
        values_and_gradients(operation, case, direction, dtype)
        for operation, dtype in (
            (case.kernel, torch.float32),
            (case.formula, torch.float32),
            (case.formula, torch.float64),
        )
    )

    @cache
    def moved() -> list[float]:
        """To the formula (`rounding.py`), four times what some draws showed; and to what only the kernel's algorithm has."""
        of_formula = wobble(lambda: values_and_gradients(case.formula, case, direction, torch.float64))
        bounds = case.rounding(*case.tensors, direction) if case.rounding else [torch.zeros(1)] * len(of_formula)
        return [4 * drawn + largest(bound) for drawn, bound in zip(of_formula, bounds, strict=True)]

    compared = len(kernel) - (case.parameters if draw.breaks else 0)
    for index in range(compared):
        ours, plain, exact = kernel[index].double(), single[index].double(), double[index]
        if found := problem(ours, plain, exact, case.unit, lambda index=index: moved()[index]):  # type: ignore[misc]
            return f"{f'gradient of input {case.fixed + index - 1}' if index else 'value'}: {found}"
    return None


def compare(
    name: str,
    make: Callable[[Draw, int, int, int], Case],
    size: Size,
    ledger: Ledger,
    lengths: Sequence[int] = LENGTHS,
    batches: Sequence[int] = (0, 1, 2, 3),
    widths: Sequence[int] = WIDTHS,
) -> None:
    """Draws cases until it has tried enough, and notes each."""

    @settings(
        max_examples=size.pick(25, 200, 3000), deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(
        seed=st.integers(0, 2**31), batch=st.sampled_from(batches), length=st.sampled_from(lengths),
        width=st.sampled_from(widths), scale=st.sampled_from(list(SCALES)),
        broken=st.sampled_from([None, None, None, *BROKEN]),
    )  # fmt: skip
    def trial(seed: int, batch: int, length: int, width: int, scale: str, broken: str | None) -> None:
        what = f"{name}, seed {seed}, {batch} x {length} x {width}, {scale}, {broken}"
        draw = Draw(seed, scale, broken)
        try:
            found = first_problem(make(draw, batch, length, width), draw)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        ledger.note(what, found)

    trial()
    ledger.settle()
