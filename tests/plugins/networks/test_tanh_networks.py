"""Written-out passes of tanh networks against autograd, with parameters of their own and as views of one tensor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from icrl_plugins.networks.flat_parameters import clip_gradient_of_each_task, flatten_parameters
from icrl_plugins.networks.stacked_layers import stacked_mlp
from icrl_plugins.networks.tanh_networks import TanhNetworks, tanh_
from icrl_plugins.networks.task_streams import TaskStreams

K, B = 3, 40


def made(seed: int = 0, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    streams = TaskStreams(np.random.SeedSequence(seed).spawn(K))
    return stacked_mlp(streams, (5, 16, 9, 2), activation)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("flat", [False, True])
def test_outputs_and_gradients_are_those_of_autograd(flat: bool):
    network, inputs, gradients = made(), drawn(K, B, 8)[..., 1:6], drawn(K, B, 2, seed=1)
    expected = network(inputs)
    by_autograd = torch.autograd.grad(expected, list(network.parameters()), gradients)
    if flat:
        flatten_parameters([network])
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter) if not flat else parameter.grad
    networks, tape = TanhNetworks(network), []
    torch.testing.assert_close(networks.forward(inputs, tape), expected.detach(), atol=2e-6, rtol=0)
    networks.backward(tape, gradients)
    for parameter, theirs in zip(network.parameters(), by_autograd, strict=True):
        torch.testing.assert_close(parameter.grad, theirs, atol=1e-5, rtol=1e-5)


def test_tanh_is_tanh_to_rounding():
    values = torch.linspace(-30.0, 30.0, 100_001)
    expected = torch.tanh(values.double()).float()
    assert (tanh_(values.clone()) - expected).abs().max() < 2.5e-7


def test_other_networks_are_refused():
    with pytest.raises(TypeError, match="tanh between them"):
        TanhNetworks(made(activation=nn.ReLU))
    with pytest.raises(TypeError, match="must be linear"):
        TanhNetworks(made()[:-1])


def test_one_step_of_the_flat_tensor_is_a_step_of_every_parameter():
    ours, theirs = made(), made()
    flat = flatten_parameters([ours])
    optimisers = torch.optim.Adam([flat], lr=1e-2, fused=True), torch.optim.Adam(theirs.parameters(), lr=1e-2)
    for step in range(3):
        for mine, parameter in zip(ours.parameters(), theirs.parameters(), strict=True):
            parameter.grad = drawn(*parameter.shape, seed=step)
            mine.grad.copy_(parameter.grad)
        for optimiser in optimisers:
            optimiser.step()
    for mine, parameter in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter, atol=1e-6, rtol=0)


def test_every_tasks_gradient_is_clipped_by_itself():
    network = made()
    flat = flatten_parameters([network])
    flat.grad.copy_(drawn(*flat.shape))
    flat.grad[1] *= 1e-3  # short enough as it is
    expected = flat.grad.clone()
    for row in expected:
        alone = nn.Parameter(torch.zeros_like(row))
        alone.grad = row
        torch.nn.utils.clip_grad_norm_([alone], 0.5)
    clip_gradient_of_each_task(flat, 0.5)
    torch.testing.assert_close(flat.grad, expected)
    assert flat.grad[0].norm() == pytest.approx(0.5, rel=1e-4)
    assert flat.grad[1].norm() < 0.1
