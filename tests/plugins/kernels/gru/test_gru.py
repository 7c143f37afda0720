"""The fused GRU against its formula, which `tests/plugins/methods/mql` holds to `torch.nn.GRU`, and on several threads."""

from __future__ import annotations

import pytest
import torch

from icrl_plugins.kernels.gru.fused import last_state_cpu
from icrl_plugins.kernels.gru.kernel import ROWS
from icrl_plugins.kernels.gru.reference import GRUWeights, last_state_reference

T, F = 6, 4


def random_case(batch: int, units: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Windows (2, T, batch, F) and parameters with gradients."""
    generator = torch.Generator().manual_seed(batch + units)
    shapes = [(2, F, 3 * units), (2, units, 3 * units), (2, 1, 3 * units), (2, 1, 3 * units)]
    given = [torch.randn(2, T, batch, F, generator=generator), *(torch.randn(s, generator=generator) for s in shapes)]
    windows, *parameters = (tensor.to(dtype) for tensor in given)
    return windows, [parameter.mul_(0.5).requires_grad_() for parameter in parameters]


def with_gradients(run, windows, parameters) -> list[torch.Tensor]:
    last = run(windows, GRUWeights(*parameters))
    direction = torch.randn(last.shape, dtype=last.dtype, generator=torch.Generator().manual_seed(5))
    return [last.detach(), *torch.autograd.grad((last * direction).sum(), parameters)]


@pytest.mark.parametrize("units", [1, 16, 40])
@pytest.mark.parametrize("batch", [1, ROWS, 2 * ROWS + 5])
def test_kernels_equal_the_formula_for_any_number_of_rows(batch, units):
    case = random_case(batch, units)
    found, expected = with_gradients(last_state_cpu, *case), with_gradients(last_state_reference, *case)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    real = (torch.rand(2, T, batch, 1, generator=torch.Generator().manual_seed(3)) < 0.7).double()
    windows, parameters = case
    torch.testing.assert_close(
        last_state_cpu(windows, GRUWeights(*parameters), real),
        last_state_reference(windows, GRUWeights(*parameters), real),
    )


@pytest.mark.parametrize("units", [7, 40])
def test_float32_too(units):
    case = random_case(ROWS + 3, units, torch.float32)
    found, expected = with_gradients(last_state_cpu, *case), with_gradients(last_state_reference, *case)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_masks_may_be_given_for_all_tasks_at_once():
    windows, parameters = random_case(4, 7)
    real = torch.ones(1, T, 1, 1, dtype=torch.float64)
    real[:, :3] = 0
    expected = last_state_reference(windows[:, 3:], GRUWeights(*parameters)).detach()
    torch.testing.assert_close(last_state_cpu(windows, GRUWeights(*parameters), real), expected)


def test_parameters_of_other_tasks_are_refused():
    windows, parameters = random_case(4, 7)
    with pytest.raises(ValueError, match="expected"):
        last_state_cpu(windows, GRUWeights(*(parameter[:1] for parameter in parameters)))


def test_bits_are_the_same_on_any_number_of_threads():
    case = random_case(40 * ROWS, 40, torch.float32)  # enough work to be shared
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(with_gradients(last_state_cpu, *case))
    for others in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], others, strict=True))
