"""The GRU that is written out against `torch.nn.GRU`, forward and backward."""

from __future__ import annotations

import pytest
import torch

from icrl_plugins.kernels.gru.fused import last_state_cpu
from icrl_plugins.kernels.gru.kernel import ROWS
from icrl_plugins.kernels.gru.reference import GRUWeights, last_state_reference
from icrl_plugins.methods.mql.context import ContextGRU
from icrl_plugins.randomness.task_streams import TaskStreams

K, T, B, F, SIZE = 3, 6, 5, 4, 7


@pytest.fixture
def gru(seed_sequence) -> ContextGRU:
    """Float64, with other weights for every task."""
    return ContextGRU(TaskStreams(seed_sequence.spawn(K)), F, SIZE).double()


@pytest.fixture
def windows() -> torch.Tensor:
    return torch.randn(K, T, B, F, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def torch_gru(gru: ContextGRU, task: int) -> torch.nn.GRU:
    reference = torch.nn.GRU(F, SIZE).double()
    with torch.no_grad():
        reference.weight_ih_l0.copy_(gru.weight_input[task].T)
        reference.weight_hh_l0.copy_(gru.weight_hidden[task].T)
        reference.bias_ih_l0.copy_(gru.bias_input[task, 0])
        reference.bias_hh_l0.copy_(gru.bias_hidden[task, 0])
    return reference


def test_last_states_and_gradients_are_those_of_torch(gru, windows):
    direction = torch.randn(K, B, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    out = gru(windows)
    (out * direction).sum().backward()
    for task in range(K):
        reference = torch_gru(gru, task)
        last = reference(windows[task])[1][0]
        (last * direction[task]).sum().backward()
        torch.testing.assert_close(out[task], last)
        torch.testing.assert_close(gru.weight_input.grad[task], reference.weight_ih_l0.grad.T)
        torch.testing.assert_close(gru.weight_hidden.grad[task], reference.weight_hh_l0.grad.T)
        torch.testing.assert_close(gru.bias_input.grad[task, 0], reference.bias_ih_l0.grad)
        torch.testing.assert_close(gru.bias_hidden.grad[task, 0], reference.bias_hh_l0.grad)


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


def test_masked_windows_equal_shorter_ones(gru, windows):
    real = torch.ones(K, T, B, 1, dtype=torch.float64)
    real[:, :2] = 0
    torch.testing.assert_close(gru(windows, real), gru(windows[:, 2:]))


def test_steps_equal_a_window(gru, windows):
    state = windows.new_zeros(K, B, SIZE)
    with torch.no_grad():
        for time in range(T):
            state = gru.step(windows[:, time], state)
    torch.testing.assert_close(state, gru(windows).detach())


def test_nothing_is_kept_without_gradient(gru, windows):
    with torch.no_grad():
        assert gru(windows).grad_fn is None
    assert gru(windows).grad_fn is not None
