"""The Mamba block and stack: names, shapes, initialisation, size, and numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from icrl_plugins.backbones.mamba import Mamba, MambaConfig
from icrl_plugins.backbones.mamba.block import MambaBlock


def test_block_state_dict_is_that_of_mamba_ssm():
    """Names, order and shapes of `mamba_ssm.Mamba(d_model=48)`: d_inner 96, d_state 16, d_conv 4, dt_rank 3."""
    assert [(name, tuple(tensor.shape)) for name, tensor in MambaBlock(48).state_dict().items()] == [
        ("A_log", (96, 16)),
        ("D", (96,)),
        ("in_proj.weight", (192, 48)),
        ("conv1d.weight", (96, 1, 4)),
        ("conv1d.bias", (96,)),
        ("x_proj.weight", (3 + 2 * 16, 96)),
        ("dt_proj.weight", (96, 3)),
        ("dt_proj.bias", (96,)),
        ("out_proj.weight", (48, 96)),
    ]


def test_stack_is_named_as_mamba_ssms_language_model():
    names = set(Mamba(MambaConfig(model_size=16, num_layers=2), context_length=8).state_dict())
    block = set(MambaBlock(16).state_dict())
    expected = {f"layers.{i}.mixer.{name}" for i in range(2) for name in block}
    assert names == expected | {"layers.0.norm.weight", "layers.1.norm.weight", "norm_f.weight"}


@pytest.mark.parametrize(
    ("size", "num_layers", "layer", "total"), [(384, 6, 964_224, 5_785_728), (512, 8, 1_695_232, 13_562_368)]
)
def test_parameter_counts_of_the_published_sizes(size, num_layers, layer, total):
    with torch.device("meta"):
        backbone = Mamba(MambaConfig(model_size=size, num_layers=num_layers), context_length=10_000)
    inner, rank = 2 * size, math.ceil(size / 16)
    formula = (
        4 * size**2 + inner * 4 + inner + inner * (rank + 32) + rank * inner + inner
        + inner * 16 + inner + 2 * size**2 + size
    )  # fmt: skip
    assert sum(p.numel() for p in backbone.layers[0].parameters()) == formula == layer
    assert sum(p.numel() for p in backbone.parameters()) == num_layers * layer + size == total


@pytest.mark.parametrize(
    ("size", "num_layers", "millions"), [(384, 6, 5.84), (512, 8, 13.63)], ids=["reacher-goal", "others"]
)
def test_published_totals_with_the_projection_from_four_parts(size, num_layers, millions):
    """Four parts of 32 are concatenated and projected to D; encoders and head add less than 30,000 more."""
    with torch.device("meta"):
        backbone = Mamba(MambaConfig(model_size=size, num_layers=num_layers), context_length=10_000)
    count = sum(p.numel() for p in backbone.parameters()) + 4 * backbone.embedding_size * size + size
    assert millions - 0.03 < count / 1e6 <= millions + 0.005


def test_initial_step_sizes_and_rates_survive_construction():
    torch_generator = torch.random.get_rng_state()
    try:
        torch.random.default_generator.manual_seed(0)
        backbone = Mamba(MambaConfig(model_size=256, num_layers=2), context_length=8)
    finally:
        torch.random.set_rng_state(torch_generator)
    for layer in backbone.layers:
        block = layer.mixer
        steps = F.softplus(block.dt_proj.bias.double())
        low, high = steps.min().item(), steps.max().item()
        assert 1e-3 * 0.999 < low < 1.1e-3
        assert 0.09 < high < 0.1 * 1.001
        assert steps.log().mean().item() == pytest.approx(np.log([1e-3, 0.1]).mean(), abs=0.2)  # log-uniform
        assert torch.equal(block.A_log, torch.log(torch.arange(1.0, 17.0)).repeat(512, 1))
        assert torch.equal(block.D, torch.ones(512))
        assert block.dt_proj.bias._no_reinit
        assert block.dt_proj.weight.abs().max() <= 16**-0.5
        assert block.dt_proj.weight.std().item() == pytest.approx(16**-0.5 / 3**0.5, rel=0.05)
        assert block.out_proj.weight.abs().max() <= 512**-0.5 / 2**0.5  # divided by the root of the number of layers
        assert block.out_proj.weight.std().item() == pytest.approx(512**-0.5 / 6**0.5, rel=0.02)
        assert block.in_proj.weight.std().item() == pytest.approx(256**-0.5 / 3**0.5, rel=0.02)


def block_by_hand(parameters, tokens):
    """One block on one sequence (T, D), from the paper's formulas, in NumPy float64 and plain loops over time."""
    p = {name: tensor.detach().double().numpy() for name, tensor in parameters.items()}
    inner, states = p["A_log"].shape
    rank = p["dt_proj.weight"].shape[1]
    xz = tokens @ p["in_proj.weight"].T
    x, z = xz[:, :inner], xz[:, inner:]
    padded = np.concatenate([np.zeros((3, inner)), x])
    h, outputs = np.zeros((inner, states)), []
    for t in range(len(tokens)):
        c = (padded[t : t + 4] * p["conv1d.weight"][:, 0].T).sum(0) + p["conv1d.bias"]
        c = c / (1 + np.exp(-c))
        projected = p["x_proj.weight"] @ c
        dt = np.log1p(np.exp(p["dt_proj.weight"] @ projected[:rank] + p["dt_proj.bias"]))
        B, C = projected[rank : rank + states], projected[rank + states :]
        h = np.exp(dt[:, None] * -np.exp(p["A_log"])) * h + dt[:, None] * B * c[:, None]
        y = h @ C + p["D"] * c
        outputs.append(p["out_proj.weight"] @ (y * z[t] / (1 + np.exp(-z[t]))))
    return np.array(outputs)


@pytest.mark.parametrize("name", ["mamba", "mamba-reference"])
def test_stack_equals_formulas_by_hand(name, make_backbone, random_tensor):
    backbone, tokens = make_backbone(name).double(), random_tensor(2, 35, 16, dtype=torch.float64)

    def norm(residual, weight):
        return residual / np.sqrt((residual**2).mean(-1, keepdims=True) + 1e-5) * weight.detach().numpy()

    for row in range(2):
        residual = tokens[row].numpy()
        for layer in backbone.layers:
            residual = residual + block_by_hand(dict(layer.mixer.named_parameters()), norm(residual, layer.norm.weight))
        expected = norm(residual, backbone.norm_f.weight)
        np.testing.assert_allclose(backbone(tokens)[row].detach().numpy(), expected, rtol=1e-9, atol=1e-10)


def test_block_equals_mambapy_on_the_same_weights(random_tensor):
    mambapy = pytest.importorskip("mambapy.mamba", reason="a second implementation; formulas by hand are checked above")
    ours = MambaBlock(24)
    theirs = mambapy.MambaBlock(mambapy.MambaConfig(d_model=24, n_layers=1))
    theirs.load_state_dict(ours.state_dict())
    tokens, weights = random_tensor(2, 33, 24), random_tensor(2, 33, 24)
    out, expected = ours(tokens)[0], theirs(tokens)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)
    names = [name for name, _ in ours.named_parameters()]
    mine = torch.autograd.grad((out * weights).sum(), [ours.get_parameter(name) for name in names])
    other = torch.autograd.grad((expected * weights).sum(), [theirs.get_parameter(name) for name in names])
    for name, first, second in zip(names, mine, other, strict=True):
        torch.testing.assert_close(first, second, atol=1e-4 * second.abs().max().item(), rtol=1e-3, msg=name)


def test_fused_and_reference_stacks_agree_in_value_and_gradient(make_backbone, random_tensor):
    fused, reference = make_backbone("mamba"), make_backbone("mamba-reference")
    tokens, weights = random_tensor(2, 150, 16), random_tensor(2, 150, 16)
    results = []
    for backbone in (fused, reference):
        out = backbone(tokens)
        results.append((out, *torch.autograd.grad((out * weights).sum(), list(backbone.parameters()))))
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, atol=2e-5 * second.abs().max().item(), rtol=1e-3)


def test_recomputing_activations_changes_nothing(random_tensor):
    tokens, weights = random_tensor(2, 50, 16), random_tensor(2, 50, 16)
    results = []
    plain = Mamba(MambaConfig(model_size=16), context_length=50)
    for limit in (2.0, 0.0):
        backbone = Mamba(MambaConfig(model_size=16, activation_memory=limit), context_length=50)
        backbone.load_state_dict(plain.state_dict())
        results.append(torch.autograd.grad((backbone(tokens) * weights).sum(), list(backbone.parameters())))
    assert all(torch.equal(first, second) for first, second in zip(*results, strict=True))


def test_training_by_carried_state_has_the_gradients_of_the_whole(make_backbone, random_tensor):
    """A history in two parts, the state handed over with its gradient, equals the history at once."""
    backbone, tokens = make_backbone("mamba").double(), random_tensor(2, 30, 16, dtype=torch.float64)
    weights, parameters = random_tensor(2, 30, 16, dtype=torch.float64), list(backbone.parameters())
    first, state = backbone.prefill(tokens[:, :13], backbone.initial_state(2))
    second, _ = backbone.prefill(tokens[:, 13:], state)
    parts = torch.autograd.grad((torch.cat([first, second], dim=1) * weights).sum(), parameters)
    whole = torch.autograd.grad((backbone(tokens) * weights).sum(), parameters)
    for ours, theirs in zip(parts, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_block_runs_under_autocast(make_backbone, random_tensor):
    backbone, tokens = make_backbone("mamba"), random_tensor(2, 20, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = backbone(tokens)
    torch.testing.assert_close(out.float(), backbone(tokens), atol=0.3, rtol=0.1)
    out.float().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in backbone.parameters())


def test_kernel_names_what_runs(make_backbone):
    assert make_backbone("mamba").kernel == "selective-scan-numba"
    assert make_backbone("mamba-reference").kernel == "selective-scan-reference"
