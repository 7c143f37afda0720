"""The GRU that is written out against `torch.nn.GRU`, forward and backward."""

from __future__ import annotations

import pytest
import torch

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
