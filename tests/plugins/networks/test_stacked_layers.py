"""Stacked layers against K separate modules of `torch.nn`: outputs, gradients, optimiser steps."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from icrl_plugins.networks.stacked_layers import (
    StackedDropout,
    StackedLayerNorm,
    StackedLinear,
    orthogonal,
    polyak_update,
    stacked_mlp,
)
from icrl_plugins.randomness.task_streams import TaskStreams

K, B, SIZES = 3, 7, (4, 6, 5, 2)


def streams(*seeds: int) -> TaskStreams:
    return TaskStreams([np.random.SeedSequence(seed) for seed in seeds or range(K)])


def separate_mlps() -> list[nn.Sequential]:
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)) for _ in range(K)]


def load(stacked: nn.Sequential, separate: list[nn.Sequential]) -> None:
    for task, network in enumerate(separate):
        for mine, theirs in zip(stacked, network, strict=True):
            if isinstance(mine, StackedLinear):
                mine.load(task, theirs)


def test_outputs_gradients_and_adam_steps_are_those_of_separate_networks():
    separate = [network.double() for network in separate_mlps()]
    stacked = stacked_mlp(streams(), SIZES).double()
    load(stacked, separate)
    mine = torch.optim.Adam(stacked.parameters(), lr=1e-2, fused=True)
    theirs = [torch.optim.Adam(network.parameters(), lr=1e-2) for network in separate]
    for _ in range(5):
        inputs = torch.randn(K, B, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        outputs = stacked(inputs)
        mine.zero_grad()
        outputs.square().mean(dim=(1, 2)).sum().backward()
        mine.step()
        for task, (network, optimiser) in enumerate(zip(separate, theirs, strict=True)):
            expected = network(inputs[task])
            torch.testing.assert_close(outputs[task], expected, rtol=1e-12, atol=1e-14)
            optimiser.zero_grad()
            expected.square().mean().backward()
            torch.testing.assert_close(stacked[0].weight.grad[task], network[0].weight.grad.T, rtol=1e-11, atol=1e-14)
            optimiser.step()
            torch.testing.assert_close(stacked[0].weight[task], network[0].weight.T, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(stacked[4].bias[task, 0], network[4].bias, rtol=1e-9, atol=1e-12)


def test_layer_norm_is_torchs_with_the_tasks_own_parameters():
    norms = [nn.LayerNorm(5).double() for _ in range(K)]
    stacked = StackedLayerNorm(K, 5).double()
    inputs = torch.randn(K, B, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for task, norm in enumerate(norms):
            norm.weight.uniform_(0.5, 2.0)
            norm.bias.uniform_(-1.0, 1.0)
            stacked.weight[task, 0], stacked.bias[task, 0] = norm.weight, norm.bias
    for task, norm in enumerate(norms):
        torch.testing.assert_close(stacked(inputs)[task], norm(inputs[task]), rtol=1e-12, atol=1e-13)


def test_initial_weights_depend_on_the_tasks_own_seed_and_have_the_range_of_torch():
    layer, reordered = StackedLinear(streams(0, 1, 2), 25, 400), StackedLinear(streams(5, 1), 25, 400)
    assert torch.equal(layer.weight[1], reordered.weight[1])
    assert not torch.equal(layer.weight[0], reordered.weight[0])
    for values in (layer.weight, layer.bias):
        assert values.abs().max() <= 0.2
        assert float(values.detach().std()) == pytest.approx(0.4 / 12**0.5, rel=0.05)


@pytest.mark.parametrize(("in_features", "out_features"), [(8, 3), (3, 8), (5, 5)])
def test_orthogonal_weights_are_orthogonal(in_features, out_features):
    layer = StackedLinear(streams(), in_features, out_features, orthogonal(gain=2.0))
    assert layer.weight.shape == (K, in_features, out_features)
    weight = layer.weight if in_features >= out_features else layer.weight.transpose(1, 2)
    gram = weight.transpose(1, 2) @ weight
    torch.testing.assert_close(gram, 4.0 * torch.eye(gram.shape[-1]).expand_as(gram), atol=1e-5, rtol=0)
    assert not layer.bias.any()
    assert not torch.allclose(layer.weight[0], layer.weight[1])


def test_dropout_keeps_the_mean_drops_its_share_and_is_off_in_evaluation():
    dropout = StackedDropout(0.2, streams())
    ones = torch.ones(K, 50, 200)
    first, second = dropout(ones), dropout(ones)
    assert not torch.equal(first, second)
    assert set(first.unique().tolist()) == {0.0, 1.25}
    assert (first == 0).float().mean(dim=(1, 2)).numpy() == pytest.approx([0.2] * K, abs=0.012)  # 3 standard errors
    assert not torch.equal(first[0], first[1])
    assert torch.equal(dropout.eval()(ones), ones)


def test_polyak_update():
    sources, targets = [torch.full((2,), 3.0)], [torch.ones(2)]
    polyak_update(sources, targets, 0.25)
    assert targets[0].tolist() == [1.5, 1.5]
    assert sources[0].tolist() == [3.0, 3.0]


def test_a_stream_depends_on_its_own_seed_and_continues_from_its_state():
    def draws(source: TaskStreams) -> list[torch.Tensor]:
        return [source.normal(3, 2), source.uniform(-1.0, 2.0, 5), source.integers(10, 4), source.permutations(6)]

    one, other = streams(0, 1, 2), streams(7, 1)
    for mine, theirs in zip(draws(one), draws(other), strict=True):
        assert torch.equal(mine[1], theirs[1])
        assert not torch.equal(mine[0], theirs[0])
    state = copy.deepcopy(one.state())
    expected = draws(one)
    one.restore(state)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(draws(one), expected, strict=True))
    assert expected[3][0].sort().values.tolist() == list(range(6))
    assert one.normal(20_000).std(dim=1).numpy() == pytest.approx([1.0] * K, abs=0.02)


@pytest.mark.parametrize("probability", [0.01, 0.4])
def test_bernoulli_events_are_independent_and_of_their_probability(probability):
    happened = streams().bernoulli(probability, 100, 500)
    assert happened.dtype == torch.bool
    error = (probability * (1 - probability) / 50_000) ** 0.5
    assert happened.float().mean(dim=(1, 2)).numpy() == pytest.approx([probability] * K, abs=4 * error)
    flat = happened.reshape(K, -1).float()
    together = (flat[:, 1:] * flat[:, :-1]).mean(dim=1)  # neighbours know nothing of each other
    assert together.numpy() == pytest.approx([probability**2] * K, abs=4 * probability / 50_000**0.5)
    assert happened[:, -1, -100:].any()  # the last places are reached too
