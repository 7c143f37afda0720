"""The networks' kernels against their formula in plain PyTorch, values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from icrl_plugins.kernels.dense.reference import Layer, networks_reference
from icrl_plugins.networks.explicit_gradients import ExplicitGradients, Tape
from icrl_plugins.networks.stacked_layers import StackedLayerNorm, StackedLinear
from icrl_plugins.randomness.task_streams import TaskStreams


@pytest.mark.parametrize(("activation", "normalised"), [(nn.ReLU, False), (nn.Tanh, False), (nn.ReLU, True)])
def test_values_and_gradients_are_those_of_the_formula(activation, normalised):
    streams = TaskStreams([np.random.SeedSequence(index) for index in range(4)])
    first, last = StackedLinear(streams, 5, 19), StackedLinear(streams, 19, 3)
    norm = StackedLayerNorm(4, 19)
    network = nn.Sequential(first, *([norm] if normalised else []), activation(), last).double()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 7, 5, dtype=torch.float64, generator=generator)  # each row serves two networks
    upstream = torch.randn(4, 7, 3, dtype=torch.float64, generator=generator)

    affine = (norm.weight, norm.bias, norm.epsilon) if normalised else None
    layers = [Layer(first.weight, first.bias, activation(), affine), Layer(last.weight, last.bias)]
    expected = networks_reference(inputs, layers)
    parameters = list(network.parameters())
    gradients = torch.autograd.grad((expected * upstream).sum(), parameters)

    passes, tape = ExplicitGradients(network), Tape()
    found = passes.forward(inputs, tape)
    passes.backward(tape, upstream)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-10, atol=1e-12)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-12)
