"""The fused RMS norm against PyTorch's and finite differences, and the estimate of what a Mamba's forward pass keeps."""

import pytest
import torch
import torch.nn.functional as F

from icrl_plugins.backbones.mamba.stack import Mamba, MambaConfig, RMSNorm
from icrl_plugins.kernels.rms_norm.fused import rms_norm_cpu


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(shape[0]), dtype=dtype)


@pytest.mark.parametrize(("rows", "size"), [(1, 16), (63, 64), (65, 48), (400, 512)])
def test_values_and_gradients_are_pytorchs(rows, size):
    x, weight, upstream = drawn(rows, size), 1 + drawn(size), drawn(rows, size)
    results = []
    for function, dtype in ((rms_norm_cpu, torch.float32), (_pytorchs, torch.float64)):
        given = [tensor.detach().to(dtype).requires_grad_() for tensor in (x, weight)]
        out = function(*given, 1e-5)
        out.backward(upstream.to(dtype))
        results.append([out.detach(), *(tensor.grad for tensor in given)])
    for ours, exact in zip(*results, strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-4)


def _pytorchs(x, weight, epsilon):
    return F.rms_norm(x, weight.shape, weight, epsilon)


def test_gradients_are_finite_differences():
    x = drawn(3, 16, dtype=torch.float64).requires_grad_()
    weight = drawn(16, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, weight: rms_norm_cpu(x, weight, 0.1), (x, weight))


def test_a_row_of_zeros_stays_finite():
    x = torch.zeros(2, 16, requires_grad=True)
    out = rms_norm_cpu(x, torch.ones(16, requires_grad=True), 1e-5)
    out.sum().backward()
    assert torch.equal(out, torch.zeros(2, 16))
    assert torch.isfinite(x.grad).all()


def test_one_and_two_threads_give_the_same_bits():
    given = drawn(4_000, 64)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        norm, x = RMSNorm(64, 1e-5), given.clone().requires_grad_()
        norm(x).square().sum().backward()
        results.append((x.grad, norm.weight.grad))
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_widths_that_are_no_whole_vectors_are_left_to_pytorch():
    norm, x = RMSNorm(20, 1e-5), drawn(5, 20)
    assert torch.equal(norm(x), F.rms_norm(x, (20,), norm.weight, 1e-5))


@pytest.mark.parametrize(
    ("size", "layers", "states", "expand"), [(64, 4, 16, 2), (128, 2, 16, 2), (64, 2, 64, 2), (64, 2, 16, 4)]
)
def test_the_estimate_of_kept_activations_is_what_autograd_keeps(size, layers, states, expand):
    config = MambaConfig(model_size=size, num_layers=layers, state_size=states, expand=expand)
    model, tokens = Mamba(config, context_length=1000), drawn(2, 1000, size)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # holding it: no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(tokens)
    assert sum(count for count, _ in kept.values()) == pytest.approx(model._activation_bytes(tokens), rel=0.05)
