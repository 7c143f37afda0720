"""The bound of the campaign lets rounding pass and nothing much larger: what is wrong in its fifth digit is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from . import test_kernels as kernels
from . import test_networks as networks
from .attention_rounding import attention_rounding
from .comparison import Case, Draw, Tensor, first_problem, values_and_gradients
from .rounding import wobble

SEEDS = range(4)
SIZES = (3, 17, 16)  # batch, length, width
MAKERS: dict[str, Callable[..., Case]] = {
    **{make.__name__: make for make in (kernels.attention, kernels.scan, kernels.norm)},
    **{f"dense {kind}": lambda draw, *sizes, kind=kind: networks.dense(kind, draw, *sizes) for kind in networks.KINDS},
    "gru": networks.gru,
}


class Wrong(torch.autograd.Function):
    """The same number, or the same gradient, but for a factor."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float, of_value: bool) -> Tensor:
        ctx.factor = 1.0 if of_value else factor
        return value * factor if of_value else value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] * ctx.factor, None, None


def wrong(case: Case, index: int, factor: float) -> Case:
    """A case whose kernel is the formula, but for the value (index 0) or the gradient of the index-th input."""

    def kernel(*tensors: Tensor) -> Tensor:
        given = list(tensors)
        if index == 0:
            return Wrong.apply(case.formula(*given), factor, True)  # type: ignore[no-any-return, no-untyped-call]
        given[case.fixed + index - 1] = Wrong.apply(given[case.fixed + index - 1], factor, False)  # type: ignore[no-untyped-call]
        return case.formula(*given)

    return replace(case, kernel=kernel)


@pytest.mark.parametrize("name", MAKERS)
def test_a_number_that_is_wrong_in_its_fifth_digit_is_found(name: str):
    case = MAKERS[name](Draw(0, "usual", None), *SIZES)
    for index in range(1 + len(case.tensors) - case.fixed):
        factor = 1.0001 if case.unit == 0 else 1.001  # where rounding is that of larger numbers on the way
        for seed in SEEDS:
            draw = Draw(seed, "usual", None)
            case = MAKERS[name](draw, *SIZES)
            assert first_problem(wrong(case, index, 1.0), draw) is None
            assert first_problem(wrong(case, index, factor), draw), f"input {index}, seed {seed}"


class Added(torch.autograd.Function):
    """The same number, with something added to its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, added: Tensor) -> Tensor:
        ctx.added = added
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] + ctx.added.to(gradients[0].dtype), None


@pytest.mark.parametrize("scale", [10.0, 20.0])
@pytest.mark.parametrize("index", [1, 2, 3], ids=["queries", "keys", "values"])
def test_ten_times_what_a_kept_log_sum_may_do_is_found(index: int, scale: float):
    """Scores of hundreds: the bound on what storing their log-sum costs lets that pass, and no more than a few times that."""
    for seed in SEEDS:
        draw = Draw(seed, "large", None)
        draw.scale = scale
        case = kernels.attention(draw, *SIZES)
        queries, keys, _ = case.tensors
        assert 300 < (queries @ keys.transpose(2, 3)).abs().max() / queries.shape[-1] ** 0.5 < 3000
        direction = Draw(seed, "usual", None)  # the same in `first_problem`, which draws it from what it is given
        bound = attention_rounding(*case.tensors, direction(*queries.shape, whole=True))[index]
        for factor, is_found in ((1.0, False), (10.0, True)):

            def kernel(*tensors: Tensor, added: Tensor = factor * bound, case: Case = case) -> Tensor:
                given = list(tensors)
                given[index - 1] = Added.apply(given[index - 1], added)  # type: ignore[no-untyped-call]
                return case.formula(*given)

            found = first_problem(replace(case, kernel=kernel), Draw(seed, "usual", None))
            assert bool(found) == is_found, f"seed {seed}, {factor} times: {found}"


def test_rounding_opens_no_closed_unit():
    """Half of the units of a ReLU layer are closed; gradients through them stay zero."""
    generator = torch.Generator().manual_seed(0)
    weights, inputs, directions = (torch.randn(shape, generator=generator) for shape in ((7, 32), (5, 7), (5, 32)))
    case = Case(lambda x, w: torch.relu(x @ w), lambda x, w: torch.relu(x @ w), [inputs, weights], parameters=1)
    moved = wobble(lambda: values_and_gradients(case.formula, case, directions, torch.float64))
    assert 0 < max(moved) < 1e-5
