"""The causal convolution with SiLU: against the formula, on several threads, and as CUDA's kernel is called."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F

from icrl_plugins.kernels.causal_conv import operation as causal_conv
from icrl_plugins.kernels.causal_conv.operation import causal_conv_silu


@pytest.mark.parametrize("width", [2, 3, 4, 6])
@pytest.mark.parametrize("steps", [1, 2, 31, 32, 33, 70])
def test_convolution_equals_torchs(width, steps, random_tensor):
    double = torch.float64
    wide = random_tensor(2, steps, 2 * 21, dtype=double).requires_grad_()
    weight, bias = random_tensor(21, 1, width, dtype=double), random_tensor(21, dtype=double)
    before, weights = random_tensor(2, width - 1, 21, dtype=double), random_tensor(2, steps, 21, dtype=double)
    leaves = [wide, weight.requires_grad_(), bias.requires_grad_(), before.requires_grad_()]
    results = []
    for kernel in ("auto", "reference"):
        out = causal_conv_silu(wide[..., 21:], weight, bias, before, kernel)
        results.append((out, *torch.autograd.grad((out * weights).sum(), leaves)))
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-11)


def test_convolution_has_the_same_bits_on_one_and_more_threads(random_tensor):
    x, weight, bias = random_tensor(4, 900, 37), random_tensor(37, 1, 4), random_tensor(37)
    leaves, results = [tensor.requires_grad_() for tensor in (x, weight, bias)], []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        out = causal_conv_silu(x, weight, bias)
        results.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
    assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))


def test_convolution_on_cuda_calls_causal_conv1d_in_its_layout(monkeypatch, random_tensor):
    """x (B, E, T) with the remembered inputs in front, weight (E, W)."""

    def causal_conv1d_fn(x, weight, bias, activation):
        assert (x.shape, weight.shape, bias.shape, activation) == ((2, 5, 12), (5, 4), (5,), "silu")
        assert x.is_contiguous()
        return F.silu(F.conv1d(x, weight[:, None], bias, groups=5, padding=3)[..., :12])

    class OnCuda(torch.Tensor):
        device = torch.device("cuda")

    module = ModuleType("causal_conv1d")
    module.causal_conv1d_fn = causal_conv1d_fn
    monkeypatch.setitem(sys.modules, "causal_conv1d", module)
    monkeypatch.setattr(causal_conv, "find_spec", lambda name: name)
    x, weight, bias, before = random_tensor(2, 9, 5), random_tensor(5, 1, 4), random_tensor(5), random_tensor(2, 3, 5)
    called = causal_conv_silu(x.as_subclass(OnCuda), weight, bias, before)
    torch.testing.assert_close(called.as_subclass(torch.Tensor), causal_conv_silu(x, weight, bias, before))
