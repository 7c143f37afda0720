"""Adam against PyTorch's, and its state kept and restored."""

from __future__ import annotations

import torch
from torch import nn

from icrl_plugins.networks.adam import Adam


def gradients(steps: int) -> torch.Tensor:
    scale = torch.logspace(-6, 2, 7, dtype=torch.float64)  # from far below epsilon's reach to far above it
    return torch.randn(steps, 3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * scale


def stepped(optimiser, parameter: nn.Parameter, steps: torch.Tensor) -> torch.Tensor:
    for gradient in steps:
        parameter.grad = gradient.clone()
        optimiser.step()
    return parameter.detach().clone()


def test_steps_are_those_of_torch():
    mine, theirs = (nn.Parameter(torch.ones(3, 7, dtype=torch.float64)) for _ in range(2))
    found = stepped(Adam({"w": mine}, 1e-2), mine, gradients(30))
    expected = stepped(torch.optim.Adam([theirs], lr=1e-2), theirs, gradients(30))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert (found != 1).all()


def test_kept_moments_continue_to_the_same_bits():
    steps = gradients(10).float()
    whole = nn.Parameter(torch.ones(3, 7))
    expected = stepped(Adam({"w": whole}, 1e-2), whole, steps)
    first = nn.Parameter(torch.ones(3, 7))
    before = Adam({"w": first}, 1e-2)
    halfway = stepped(before, first, steps[:5])
    second = nn.Parameter(halfway)
    after = Adam({"w": second}, 1e-2)
    after.restore(before.tensors(), before.steps)
    assert torch.equal(stepped(after, second, steps[5:]), expected)
