"""Which parameters decay, and the learning rate of every update."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from icrl_plugins.training.optimisation import OptimisationConfig, build_optimiser, learning_rate, parameter_groups


class Everything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.layer_norm = nn.LayerNorm((2, 2))  # weight and bias have two axes
        self.rms_norm = nn.RMSNorm(4)
        self.table = nn.Embedding(5, 4)
        self.gru = nn.GRU(4, 4)
        self.conv1d = nn.Conv1d(4, 4, 3, groups=4)
        self.positions = nn.Parameter(torch.zeros(7, 4))
        self.A_log = nn.Parameter(torch.zeros(4, 2))
        self.A_log._no_weight_decay = True
        self.D = nn.Parameter(torch.ones(4))
        self.frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)
        self.tied = self.linear


def test_only_matrices_decay() -> None:
    module = Everything()
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    decayed, exempt = parameter_groups(module, 0.1)
    assert {names[id(p)] for p in decayed["params"]} == {
        "linear.weight",
        "gru.weight_ih_l0",
        "gru.weight_hh_l0",
        "conv1d.weight",
    }
    assert (decayed["weight_decay"], exempt["weight_decay"]) == (0.1, 0.0)
    both = [id(p) for p in decayed["params"] + exempt["params"]]
    assert len(both) == len(set(both))
    assert {names[i] for i in both} == set(names.values()) - {"frozen"}


def test_decay_is_decoupled_from_the_gradient() -> None:
    linear = nn.Linear(2, 2)
    optimiser = build_optimiser(linear, OptimisationConfig(learning_rate=0.5, weight_decay=0.1))
    weight, bias = linear.weight.detach().clone(), linear.bias.detach().clone()
    for parameter in linear.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    torch.testing.assert_close(linear.weight.detach(), weight * (1 - 0.5 * 0.1), rtol=1e-6, atol=0)
    assert torch.equal(linear.bias.detach(), bias)


def test_warm_up_then_cosine_to_the_floor() -> None:
    config = OptimisationConfig(learning_rate=2.0, warmup_fraction=0.1, final_learning_rate_fraction=0.25)
    rates = [learning_rate(update, 100, config) for update in range(101)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert rates[10] == 2.0
    assert rates[55] == pytest.approx(2.0 * (0.25 + 0.75 * 0.5))  # half-way down
    assert rates[40] == pytest.approx(2.0 * (0.25 + 0.75 * (1 + math.cos(math.pi / 3)) / 2))
    assert rates[100] == pytest.approx(0.5)
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))


def test_no_warm_up_starts_at_the_peak() -> None:
    assert learning_rate(0, 10, OptimisationConfig(learning_rate=0.3, warmup_fraction=0.0)) == 0.3
