"""Operations that nobody differentiates go past autograd: the same bits, no graph, and no tangent lost in silence."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad

from icrl_plugins.kernels.causal_conv.operation import causal_conv_silu
from icrl_plugins.kernels.runtime import derivatives
from icrl_plugins.kernels.selective_scan.operation import selective_scan
from icrl_plugins.kernels.selective_scan.reference import ScanInputs, ScanWeights


def _scan(x):
    generator = torch.Generator().manual_seed(3)
    batch, steps, channels = x.shape
    dt, B, C = (torch.randn(batch, steps, size, generator=generator) for size in (channels, 5, 5))
    weights = ScanWeights(
        -torch.rand(channels, 5, generator=generator) - 0.1, torch.ones(channels), torch.zeros(channels)
    )
    return selective_scan(ScanInputs(x, dt, B, C, x), weights)[0]


def _convolution(x):
    generator = torch.Generator().manual_seed(4)
    return causal_conv_silu(x, torch.randn(x.shape[2], 1, 4, generator=generator), torch.ones(x.shape[2]))


OPERATIONS = pytest.mark.parametrize("operation", [_scan, _convolution])


@OPERATIONS
def test_bits_are_the_same_with_and_without_a_gradient(operation, random_tensor):
    x = random_tensor(2, 70, 21)
    with torch.no_grad():
        alone = operation(x)
    followed = operation(x.clone().requires_grad_())
    assert alone.grad_fn is None
    assert followed.grad_fn is not None
    assert torch.equal(alone, followed)


@OPERATIONS
def test_one_input_that_requires_a_gradient_is_enough(operation, random_tensor):
    x = random_tensor(1, 9, 6).requires_grad_()
    operation(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().min() > 0


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # PyTorch's own, when it first loads its forward-mode rules
@OPERATIONS
def test_forward_mode_is_refused_not_forgotten(operation, random_tensor):
    with forward_ad.dual_level(), torch.no_grad():
        dual = forward_ad.make_dual(random_tensor(1, 9, 6), torch.ones(1, 9, 6))
        with pytest.raises(NotImplementedError, match="jvp"):
            operation(dual)


def test_what_is_left_out_wants_no_gradient():
    assert not derivatives.wanted([None, torch.ones(2)])
    assert derivatives.wanted([None, torch.ones(2, requires_grad=True)])
    with torch.no_grad():
        assert not derivatives.wanted([torch.ones(2, requires_grad=True)])
