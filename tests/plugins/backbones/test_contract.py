"""What every backbone promises: causality, and one token at a time gives what the whole sequence gives."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest
import torch
from pydantic import ValidationError

from icrl_plugins.backbones.decision_transformer import DecisionTransformer, TransformerConfig
from icrl_plugins.backbones.mamba import Mamba, MambaConfig
from icrl_plugins.backbones.recurrent import GRU, LSTM, RecurrentConfig
from icrl_registry.contracts import Backbone

BACKBONES = ("mamba", "mamba-reference", "dt", "dt-learned", "gru", "lstm")


def steps(backbone, tokens):
    state, outputs = backbone.initial_state(tokens.shape[0]), []
    for t in range(tokens.shape[1]):
        out, state = backbone.step(tokens[:, t], state)
        outputs.append(out)
    return torch.stack(outputs, dim=1), state


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize(("length", "gradients"), [(1, False), (3, False), (5, False), (300, False), (5, True)])
def test_steps_equal_forward(name, length, gradients, make_backbone, random_tensor):
    backbone, tokens = make_backbone(name), random_tensor(2, length, 16)
    with torch.set_grad_enabled(gradients):
        stepped, _ = steps(backbone, tokens)
        whole = backbone(tokens)
    assert whole.shape == (2, length, 16)
    torch.testing.assert_close(stepped, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("cut", [1, 2, 17])
def test_prefill_in_chunks_then_steps(name, cut, make_backbone, random_tensor):
    backbone, tokens = make_backbone(name), random_tensor(2, 40, 16)
    with torch.no_grad():
        first, state = backbone.prefill(tokens[:, :cut], backbone.initial_state(2))
        second, state = backbone.prefill(tokens[:, cut:31], state)
        rest = []
        for t in range(31, 40):
            out, state = backbone.step(tokens[:, t], state)
            rest.append(out)
        joined = torch.cat([first, second, torch.stack(rest, dim=1)], dim=1)
        torch.testing.assert_close(joined, backbone(tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_output_never_depends_on_later_tokens(name, make_backbone, random_tensor):
    backbone, tokens = make_backbone(name), random_tensor(1, 37, 16)
    tokens.requires_grad_()
    for t in (0, 15, 16, 36):
        (gradient,) = torch.autograd.grad(backbone(tokens)[0, t].sum(), tokens)
        reached = gradient[0].abs().sum(dim=1) > 0
        assert reached[: t + 1].all()  # every earlier token matters …
        assert not reached[t + 1 :].any()  # … and no later one


@pytest.mark.parametrize("name", BACKBONES)
def test_rows_of_a_batch_do_not_mix(name, make_backbone, random_tensor):
    backbone, tokens = make_backbone(name), random_tensor(3, 20, 16)
    with torch.no_grad():
        alone = torch.cat([backbone(tokens[row : row + 1]) for row in range(3)])
        torch.testing.assert_close(backbone(tokens), alone, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_gradients_reach_every_parameter_through_forward_and_steps(name, make_backbone, random_tensor):
    backbone, tokens, weights = make_backbone(name, 12), random_tensor(2, 12, 16), random_tensor(2, 12, 16)
    parameters = list(backbone.parameters())
    whole = torch.autograd.grad((backbone(tokens) * weights).sum(), parameters)
    stepped = torch.autograd.grad((steps(backbone, tokens)[0] * weights).sum(), parameters)
    for first, second in zip(whole, stepped, strict=True):
        assert first.abs().max() > 0
        torch.testing.assert_close(second, first, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("name", BACKBONES)
def test_small_parameters_are_marked_as_not_decayed(name, make_backbone):
    backbone = make_backbone(name)
    for parameter_name, parameter in backbone.named_parameters():
        marked = getattr(parameter, "_no_weight_decay", False)
        special = parameter_name.endswith("A_log") or parameter_name == "positions"
        bias = "bias" in parameter_name
        assert marked == (parameter.ndim < 2 or special or bias), parameter_name


@pytest.mark.parametrize("name", BACKBONES)
def test_state_is_tensors_with_the_batch_first(name, make_backbone, random_tensor):
    backbone = make_backbone(name)
    with torch.no_grad():
        _, state = steps(backbone, random_tensor(3, 4, 16))

    def leaves(part):
        return [leaf for piece in part for leaf in leaves(piece)] if isinstance(part, tuple) else [part]

    for leaf in (*leaves(state), *leaves(backbone.initial_state(3))):
        assert isinstance(leaf, torch.Tensor)
        assert leaf.shape[0] == 3


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (Mamba, MambaConfig(model_size=24, embedding_size=5)),
        (DecisionTransformer, TransformerConfig(embedding_size=6)),
        (GRU, RecurrentConfig(model_size=24, embedding_size=5)),
        (LSTM, RecurrentConfig(model_size=24, embedding_size=5)),
    ],
)
def test_construction_follows_torchs_generator(kind, config):
    def weights(seed):
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            backbone = kind(config, context_length=8)
            assert isinstance(backbone, Backbone)
            assert (backbone.model_size, backbone.embedding_size) == (24, config.embedding_size)
            return torch.cat([parameter.detach().reshape(-1) for parameter in backbone.parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


@pytest.mark.parametrize("name", BACKBONES)
def test_running_leaves_torchs_generator_alone(name, make_backbone, random_tensor):
    backbone = make_backbone(name)
    before = torch.random.get_rng_state()
    backbone(random_tensor(2, 9, 16)).sum().backward()
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", ["dt", "mamba"])
@pytest.mark.parametrize(("batch", "length"), [(2, 0), (0, 5), (0, 0)])
def test_nothing_in_nothing_out(name, batch, length, make_backbone):
    backbone, tokens = make_backbone(name), torch.zeros(batch, length, 16)
    assert backbone(tokens).shape == tokens.shape
    with torch.no_grad():
        out, state = backbone.prefill(tokens, backbone.initial_state(batch))
        assert out.shape == tokens.shape
        assert backbone.step(torch.zeros(batch, 16), state)[0].shape == (batch, 16)


@pytest.mark.parametrize("name", ["dt", "mamba"])
def test_steps_equal_forward_under_autocast(name, make_backbone, random_tensor):
    backbone, tokens = make_backbone(name), random_tensor(2, 5, 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        stepped, _ = steps(backbone, tokens)
        whole = backbone(tokens)
    torch.testing.assert_close(stepped.float(), whole.float(), atol=0.1, rtol=0.1)


def test_entry_points_name_the_backbones():
    found = {point.name: point for point in entry_points(group="icrl_bench.backbones")}
    expected = {"mamba": Mamba, "dt": DecisionTransformer, "gru": GRU, "lstm": LSTM}
    assert {name: found[name].load() for name in expected} == expected
    for kind in expected.values():
        assert all(field.description for field in kind.Config.model_fields.values())


def test_configurations_are_frozen_and_refuse_unknown_keys():
    with pytest.raises(ValidationError):
        MambaConfig(modell_size=3)
    with pytest.raises(ValidationError):
        MambaConfig().num_layers = 3
