"""Parameters that lie side by side: one step of Adam and the clipped norms against those of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from icrl_plugins.networks.flat_parameters import FlatParameters
from icrl_plugins.networks.stacked_layers import stacked_mlp
from icrl_plugins.randomness.task_streams import TaskStreams

K = 3


def made(seed: int = 0) -> nn.Sequential:
    streams = TaskStreams(np.random.SeedSequence(seed).spawn(K))
    return stacked_mlp(streams, (5, 16, 9, 2), nn.Tanh)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_modules_compute_as_before():
    network, rows = made(), drawn(K, 7, 5)
    expected = network(rows)
    FlatParameters([network])
    torch.testing.assert_close(network(rows), expected, rtol=0, atol=0)


def test_one_step_of_the_flat_tensor_is_a_step_of_every_parameter():
    ours, theirs = made(), made()
    flat = FlatParameters([ours]).flat
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
    parameters = FlatParameters([network])
    parameters.flat.grad.copy_(drawn(*parameters.flat.shape))
    for parameter in network.parameters():
        parameter.grad[1] *= 1e-3  # short enough as it is
    alone = [[nn.Parameter(of[task].detach().clone()) for of in network.parameters()] for task in range(K)]
    for task, copies in enumerate(alone):
        for copied, of in zip(copies, network.parameters(), strict=True):
            copied.grad = of.grad[task].clone()
        torch.nn.utils.clip_grad_norm_(copies, 0.5)
    parameters.clip_gradient_of_each_task(0.5)
    for task, copies in enumerate(alone):
        for copied, of in zip(copies, network.parameters(), strict=True):
            torch.testing.assert_close(of.grad[task], copied.grad)
    norms = [torch.cat([copied.grad.flatten() for copied in copies]).norm() for copies in alone]
    assert norms[0] == pytest.approx(0.5, rel=1e-4)
    assert norms[1] < 0.1
