"""Written-out gradients against autograd on the same layers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from icrl_plugins.networks.explicit_gradients import ExplicitGradients, Tape
from icrl_plugins.networks.squashed_gaussian import squashed_sample, squashed_sample_gradients
from icrl_plugins.networks.stacked_layers import StackedDropout, StackedLayerNorm, StackedLinear, stacked_mlp
from icrl_plugins.randomness.task_streams import TaskStreams

K, B = 3, 40


def network(dropout: float, layer_norm: bool) -> tuple[nn.Sequential, TaskStreams]:
    streams = TaskStreams([np.random.SeedSequence(seed) for seed in range(K)])
    layers: list[nn.Module] = []
    for in_features, out_features in ((5, 16), (16, 9)):
        layers.append(StackedLinear(streams, in_features, out_features))
        if dropout:
            layers.append(StackedDropout(dropout, streams))
        if layer_norm:
            layers.append(StackedLayerNorm(K, out_features))
            layers[-1].weight.data.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(3))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, StackedLinear(streams, 9, 2)).double(), streams


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_outputs_and_gradients_are_those_of_autograd(dropout, layer_norm):
    explicit, streams = network(dropout, layer_norm)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(K, B, 5, dtype=torch.float64, generator=generator).requires_grad_()
    gradients = torch.randn(K, B, 2, dtype=torch.float64, generator=generator)
    state = copy.deepcopy(streams.state())
    expected = explicit(inputs)
    expected.backward(gradients)
    by_autograd = [parameter.grad.clone() for parameter in explicit.parameters()]
    explicit.zero_grad()
    streams.restore(state)
    tape = Tape()
    torch.testing.assert_close(
        ExplicitGradients(explicit).forward(inputs.detach(), tape), expected.detach(), rtol=1e-12, atol=1e-13
    )
    by_input = ExplicitGradients(explicit).backward(tape, gradients.clone(), inputs=slice(1, 4))
    torch.testing.assert_close(by_input, inputs.grad[..., 1:4], rtol=1e-10, atol=1e-12)
    for parameter, theirs in zip(explicit.parameters(), by_autograd, strict=True):
        torch.testing.assert_close(parameter.grad, theirs, rtol=1e-10, atol=1e-12)


def drawn(*shape: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("outputs", [1, 2, 20])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_tanh_networks_too(outputs, dtype, tolerance):
    streams = TaskStreams([np.random.SeedSequence(seed) for seed in range(K)])
    tanh_network = stacked_mlp(streams, (5, 16, 9, outputs), nn.Tanh).to(dtype)
    # The inputs of a minibatch are some columns of it.
    inputs, gradients = drawn(K, B, 8, dtype=dtype, seed=0)[..., 1:6], drawn(K, B, outputs, dtype=dtype, seed=1)
    expected = tanh_network(inputs)
    by_autograd = torch.autograd.grad(expected, list(tanh_network.parameters()), gradients)
    passes, tape = ExplicitGradients(tanh_network), Tape()
    torch.testing.assert_close(passes.forward(inputs, tape), expected.detach(), rtol=0, atol=tolerance)
    passes.backward(tape, gradients.clone())
    for parameter, theirs in zip(tanh_network.parameters(), by_autograd, strict=True):
        torch.testing.assert_close(parameter.grad, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("batch", [1, 3, 9, 130])
@pytest.mark.parametrize("sizes", [(70, 17, 3), (3, 70, 1), (150, 16, 130, 5), (4, 7)])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_rows_and_columns_that_fill_no_tile(sizes, batch, activation):
    """In float64 a vector holds 8 numbers, a tile 4 rows by 32 columns or 8 rows by 8; sums are made in parts of 64."""
    streams = TaskStreams([np.random.SeedSequence(seed) for seed in range(K)])
    stacked = stacked_mlp(streams.repeated(2), sizes, activation).double()  # two networks read the same inputs
    inputs = drawn(K, batch, sizes[0], dtype=torch.float64, seed=0).requires_grad_()
    gradients = drawn(2 * K, batch, sizes[-1], dtype=torch.float64, seed=1)
    expected = stacked(inputs.repeat_interleave(2, dim=0))
    by_input, *by_autograd = torch.autograd.grad(expected, [inputs, *stacked.parameters()], gradients)
    passes, tape = ExplicitGradients(stacked), Tape()
    torch.testing.assert_close(passes.forward(inputs, tape), expected.detach(), rtol=1e-12, atol=1e-13)
    found = passes.backward(tape, gradients, inputs=slice(0, sizes[0])).unflatten(0, (K, 2)).sum(dim=1)
    torch.testing.assert_close(found, by_input, rtol=1e-10, atol=1e-12)
    for parameter, theirs in zip(stacked.parameters(), by_autograd, strict=True):
        torch.testing.assert_close(parameter.grad, theirs, rtol=1e-10, atol=1e-12)


def test_inputs_lie_in_memory_as_they_like():
    """A part of wider rows, swapped axes, and one row a network, whose stride along the rows means nothing."""
    explicit, _ = network(0.0, layer_norm=False)
    numbers = drawn(K * B * 8, dtype=torch.float64, seed=5)
    layouts = {
        "wider rows": numbers.view(K, B, 8)[..., 2:7],
        "swapped": numbers[: K * B * 5].view(B, K, 5).transpose(0, 1),
        "numbers apart": numbers[: K * 4 * 10].view(K, 4, 10)[..., ::2],
        "one row": numbers.as_strided((K, 1, 5), (5, 1, 1)),
        "one row of wider ones": numbers.as_strided((K, 1, 5), (8, 3, 1), 1),
    }
    for name, inputs in layouts.items():
        found = ExplicitGradients(explicit).forward(inputs)
        torch.testing.assert_close(
            found, explicit(inputs), rtol=1e-12, atol=1e-13, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_without_a_tape_the_outputs_are_the_same_bits():
    explicit, _ = network(0.0, True)
    inputs = drawn(K, B, 5, dtype=torch.float64, seed=0)
    passes = ExplicitGradients(explicit)
    assert torch.equal(passes.forward(inputs), passes.forward(inputs, Tape()))


def test_a_network_that_is_cast_afterwards_is_looked_up_again():
    streams = TaskStreams([np.random.SeedSequence(seed) for seed in range(K)])
    stacked = stacked_mlp(streams, (5, 16, 2))
    passes, inputs = ExplicitGradients(stacked), drawn(K, B, 5, dtype=torch.float64, seed=0)
    passes.forward(inputs.float())
    stacked.double()
    torch.testing.assert_close(passes.forward(inputs), stacked(inputs).detach(), rtol=1e-12, atol=1e-13)


def test_what_is_not_a_number_stays_so():
    """A rectifier that makes 0 of NaN would hide a training that broke down."""
    streams = TaskStreams([np.random.SeedSequence(seed) for seed in range(K)])
    stacked = stacked_mlp(streams, (5, 16, 16, 2))
    inputs = torch.zeros(K, B, 5)
    inputs[1, 7, 2] = float("nan")
    broken = ExplicitGradients(stacked).forward(inputs).isnan()
    assert broken[1, 7].all()
    assert broken.sum() == 2


def test_tanh_saturates_like_tanh():
    """Also where the logistic function has run out of digits."""
    streams = TaskStreams([np.random.SeedSequence(0)])
    one_to_one = stacked_mlp(streams, (1, 1, 1), nn.Tanh)
    for layer in (one_to_one[0], one_to_one[2]):
        layer.weight.data.fill_(1.0)
        layer.bias.data.zero_()
    values = torch.cat([torch.linspace(-30.0, 30.0, 20_001), torch.tensor([-1e4, 1e4])]).view(1, -1, 1)
    expected = torch.tanh(values.double()).float()
    assert (ExplicitGradients(one_to_one).forward(values) - expected).abs().max() < 2.5e-7


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (lambda linear: [linear(), nn.Sigmoid(), linear()], "no explicit gradient for Sigmoid"),
        (lambda linear: [linear(), StackedLayerNorm(K, 4), nn.Tanh(), linear()], "no explicit gradient for Tanh"),
        (lambda linear: [linear(), nn.Tanh()], "must be linear"),
        (lambda linear: [linear(), nn.Tanh(), nn.ReLU(), linear()], "no explicit gradient for ReLU"),
        (lambda linear: [linear(), nn.ReLU(), linear(), StackedLayerNorm(K, 4)], "must be linear"),
    ],
)
def test_other_networks_are_refused(layers, message):
    streams = TaskStreams([np.random.SeedSequence(seed) for seed in range(K)])
    with pytest.raises(TypeError, match=message):
        ExplicitGradients(nn.Sequential(*layers(lambda: StackedLinear(streams, 4, 4))))


def test_gradients_that_nobody_asks_for_are_not_written():
    explicit, _ = network(0.0, True)
    tape = Tape()
    ExplicitGradients(explicit).forward(torch.ones(K, B, 5, dtype=torch.float64), tape)
    assert (
        ExplicitGradients(explicit).backward(tape, torch.ones(K, B, 2, dtype=torch.float64), parameters=False) is None
    )
    assert all(parameter.grad is None for parameter in explicit.parameters())


def test_gradients_of_the_squashed_gaussian_are_those_of_autograd():
    generator = torch.Generator().manual_seed(1)
    mean, log_std, noise, by_action = (torch.randn(60, 3, dtype=torch.float64, generator=generator) for _ in range(4))
    noise = 0.3 * noise  # a saturated tanh leaves 1 - a² with few digits, by either way
    log_std = (4 * log_std).clamp(max=2.5)  # some beyond each bound
    log_std[:5] = -21.0
    mean.requires_grad_()
    log_std.requires_grad_()
    actions, log_prob = squashed_sample(mean, log_std, noise)
    ((actions * by_action).sum() + 0.7 * log_prob.sum()).backward()
    by_log_prob = torch.full((60, 1), 0.7, dtype=torch.float64)
    found = squashed_sample_gradients(actions.detach(), log_std.detach(), noise, by_action, by_log_prob)
    torch.testing.assert_close(found[0], mean.grad, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(found[1], log_std.grad, rtol=1e-9, atol=1e-11)
    assert (log_std.grad == 0).sum() > 20
