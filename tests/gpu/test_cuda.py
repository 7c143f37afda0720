"""On a CUDA device: each operation against its formula, a checkpoint both ways, and the grid with a GPU for each unit."""

from __future__ import annotations

import pytest
import torch

from icrl_bench.executors.local import visible_gpus
from icrl_bench.machine.accelerators import KERNELS, state_of
from icrl_plugins.kernels.attention.operation import causal_attention
from icrl_plugins.kernels.causal_conv.operation import causal_conv_silu
from icrl_plugins.kernels.selective_scan.operation import selective_scan
from icrl_plugins.kernels.selective_scan.reference import ScanInputs, ScanWeights, scan_reference
from icrl_registry.discovery import load

pytestmark = pytest.mark.gpu
BATCH, STEPS, CHANNELS, STATES, WIDTH = 2, 33, 16, 8, 4


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_there_is_a_device():
    assert torch.cuda.is_available(), "make test-gpu is for a machine with one"
    assert visible_gpus()


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.distribution)
def test_the_kernels_of_the_extra_are_there(kernel):
    runs, words = state_of(kernel, torch.cuda.is_available())
    assert runs, words


@pytest.mark.parametrize("with_state", [False, True])
def test_the_scan_is_its_formula(with_state: bool):
    rates = -torch.arange(1.0, STATES + 1).expand(CHANNELS, STATES)
    wide = (BATCH, STEPS, CHANNELS)
    sequence = ScanInputs(
        normal(*wide), normal(*wide, seed=1) - 2, normal(BATCH, STEPS, STATES, seed=2),
        normal(BATCH, STEPS, STATES, seed=3), normal(*wide, seed=4),
    )  # fmt: skip
    weights = ScanWeights(rates.contiguous(), normal(CHANNELS, seed=5), normal(CHANNELS, seed=6))
    state = normal(BATCH, CHANNELS, STATES, seed=7) if with_state else None
    expected = scan_reference(sequence, weights, state)
    found = selective_scan(
        ScanInputs(*(tensor.cuda() for tensor in sequence)),
        ScanWeights(*(tensor.cuda() for tensor in weights)),
        None if state is None else state.cuda(),
    )
    for ours, formula in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.cpu(), formula, rtol=1e-4, atol=1e-4)


def test_the_convolution_is_its_formula():
    x, weight, bias = normal(BATCH, STEPS, CHANNELS), normal(CHANNELS, 1, WIDTH, seed=1), normal(CHANNELS, seed=2)
    before = normal(BATCH, WIDTH - 1, CHANNELS, seed=3)
    expected = causal_conv_silu(x, weight, bias, before, "reference")
    found = causal_conv_silu(x.cuda(), weight.cuda(), bias.cuda(), before.cuda())
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seen", [STEPS, 2 * STEPS])
def test_attention_is_its_formula(dtype: torch.dtype, seen: int):
    queries, keys, values = normal(BATCH, 2, STEPS, 32), normal(BATCH, 2, seen, 32, seed=1), normal(BATCH, 2, seen, 32)
    scores = queries @ keys.transpose(2, 3) / 32**0.5
    mask = torch.ones(STEPS, seen, dtype=torch.bool).tril(seen - STEPS)
    expected = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ values
    found = causal_attention(*(tensor.cuda().to(dtype) for tensor in (queries, keys, values)), 0.0)
    tolerance = 1e-4 if dtype is torch.float32 else 3e-2
    torch.testing.assert_close(found.float().cpu(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["mamba", "dt", "gru", "lstm"])
def test_a_backbone_computes_the_same_with_the_weights_of_the_cpu(name: str):
    component = load("backbone", name).component
    torch.manual_seed(0)
    model = component(component.Config(), context_length=STEPS).eval()
    tokens = normal(BATCH, STEPS, model.model_size)
    with torch.no_grad():
        expected = model(tokens)
        found = model.cuda()(tokens.cuda())
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
