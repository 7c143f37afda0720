"""The linear layer against PyTorch's own in float64, in values and gradients, and where it must step aside."""

import pytest
import torch
import torch.nn.functional as F

from icrl_plugins.backbones import linear as module
from icrl_plugins.backbones.linear import Linear, linear


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of what oneDNN was asked for."""
    if not module._onednn_beside_mkl():
        pytest.skip("this build of PyTorch has no oneDNN beside MKL")
    asked, product = [], module._product
    monkeypatch.setattr(module, "_product", lambda *given: asked.append(tuple(given[0].shape)) or product(*given))
    return asked


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape) + shape[-1]))


@pytest.mark.parametrize("sizes", [(64, 256), (128, 36), (4, 128), (256, 64)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_float64(sizes, bias, products):
    inputs, outputs = sizes
    x, weight = drawn(3, 700, inputs), drawn(outputs, inputs)
    offsets = drawn(outputs) if bias else None
    upstream = drawn(3, 700, outputs)

    def run(function, dtype):
        given = [
            None if tensor is None else tensor.detach().to(dtype).requires_grad_() for tensor in (x, weight, offsets)
        ]
        out = function(*given)
        out.backward(upstream.to(dtype))
        return [out.detach(), *(tensor.grad for tensor in given if tensor is not None)]

    for ours, exact in zip(run(linear, torch.float32), run(F.linear, torch.float64), strict=True):
        assert ours.shape == exact.shape
        torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=2e-3 if ours.dim() < 3 else 1e-4)
    assert len(products) == 3


def test_a_column_range_of_wider_rows_is_multiplied_in_place(products):
    wide, weight = drawn(2, 900, 96), drawn(64, 32)
    torch.testing.assert_close(linear(wide[..., 32:64], weight), F.linear(wide[..., 32:64].contiguous(), weight))
    assert products


def test_gradients_that_nobody_needs_are_not_computed(products):
    x, weight = drawn(2, 900, 64), drawn(64, 64).requires_grad_()
    linear(x, weight).sum().backward()
    assert len(products) == 2
    assert x.grad is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_left_to_pytorch(dtype, products):
    x, weight = drawn(2, 900, 64).to(dtype), drawn(64, 64).to(dtype)
    assert torch.equal(linear(x, weight), F.linear(x, weight))
    assert not products


def test_autocast_and_small_products_are_left_to_pytorch(products):
    layer = Linear(64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(drawn(2, 900, 64)).dtype == torch.bfloat16
    layer(drawn(10, 64))
    assert not products


def test_it_has_the_parameters_of_pytorchs_layer():
    ours, theirs = Linear(8, 5), torch.nn.Linear(8, 5)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
