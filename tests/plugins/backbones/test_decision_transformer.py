"""The `dt` backbone: its size, its positions, and what its window does when it is full."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from icrl_plugins.backbones.decision_transformer import (
    DecisionTransformer,
    TransformerConfig,
    sinusoids,
)
from icrl_plugins.kernels.attention import operation
from icrl_plugins.kernels.attention.operation import causal_attention
from icrl_registry.errors import UsageError


def layer_parameters(size: int, feedforward: int = 2048) -> int:
    """P(D): attention with biases, an MLP with biases, two layer norms."""
    return 4 * size**2 + 4 * size + 2 * feedforward * size + feedforward + size + 4 * size


@pytest.mark.parametrize(
    ("embedding_size", "num_layers", "layer", "total", "millions"),
    [(42, 8, 804_584, 6_436_672, 6.44), (64, 9, 1_315_072, 11_835_648, 11.84), (128, 6, 3_152_384, 18_914_304, 18.91)],
)
def test_parameter_counts_of_the_published_sizes(embedding_size, num_layers, layer, total, millions):
    with torch.device("meta"):
        config = TransformerConfig(embedding_size=embedding_size, num_layers=num_layers)
        backbone = DecisionTransformer(config, context_length=10_000)
    size = 4 * embedding_size
    assert backbone.model_size == size
    assert sum(p.numel() for p in backbone.blocks[0].parameters()) == layer_parameters(size) == layer
    assert num_layers * layer == total
    count = sum(parameter.numel() for parameter in backbone.parameters())
    assert count == total + 2 * size  # and the final norm
    assert round(count / 1e6, 2) == pytest.approx(millions, abs=0.011)


def test_learned_positions_cost_a_row_per_position():
    def count(positions):
        config = TransformerConfig(embedding_size=4, num_layers=1, positions=positions)
        return sum(p.numel() for p in DecisionTransformer(config, context_length=50).parameters())

    assert count("learned") - count("sinusoidal") == 50 * 16


def test_sinusoids_are_bounded_distinct_and_start_at_position_zero():
    table = sinusoids(500, 15)
    assert table.shape == (500, 15)
    assert torch.equal(table[0], torch.tensor([0.0] * 8 + [1.0] * 7))
    assert table.abs().max() <= 1
    assert torch.pdist(table).min() > 1e-3
    assert table[3, 0] == pytest.approx(torch.tensor(3.0).sin().item())


def test_block_equals_hand_written_attention(make_backbone, random_tensor):
    """Softmax attention with explicit masks, head by head, in float64."""
    backbone, tokens = make_backbone("dt").double(), random_tensor(2, 9, 16, dtype=torch.float64)
    residual = tokens + sinusoids(9, 16).double()
    for block in backbone.blocks:
        normed = F.layer_norm(residual, (16,), block.norm_attention.weight, block.norm_attention.bias)
        queries, keys, values = (normed @ block.qkv.weight.T + block.qkv.bias).split(16, dim=-1)
        heads = []
        for head in range(4):
            columns = slice(4 * head, 4 * head + 4)
            scores = queries[..., columns] @ keys[..., columns].transpose(1, 2) / 4**0.5
            mask = torch.ones(9, 9).triu(1).bool()
            heads.append(scores.masked_fill(mask, -torch.inf).softmax(-1) @ values[..., columns])
        residual = residual + torch.cat(heads, -1) @ block.attention_out.weight.T + block.attention_out.bias
        normed = F.layer_norm(residual, (16,), block.norm_mlp.weight, block.norm_mlp.bias)
        hidden = F.gelu(normed @ block.mlp_in.weight.T + block.mlp_in.bias)
        residual = residual + hidden @ block.mlp_out.weight.T + block.mlp_out.bias
    expected = F.layer_norm(residual, (16,), backbone.norm.weight, backbone.norm.bias)
    torch.testing.assert_close(backbone(tokens), expected, atol=1e-7, rtol=1e-7)  # the position table is float32


@pytest.mark.parametrize("window", [1, 2, 7, 70])
@pytest.mark.parametrize("name", ["dt", "dt-learned"])
def test_after_overflow_steps_equal_a_fresh_forward_on_the_kept_tokens(name, window, make_backbone, random_tensor):
    backbone, tokens = make_backbone(name, window), random_tensor(2, 3 * window + 5, 16)
    state, start, seen = backbone.initial_state(2), 0, 0
    with torch.no_grad():
        for t in range(tokens.shape[1]):
            if seen == window:  # full: the newest half stays
                start, seen = t - window // 2, window // 2
            seen += 1
            out, state = backbone.step(tokens[:, t], state)
            assert int(state[0][0]) == seen
            expected = backbone(tokens[:, start : t + 1])[:, -1]
            torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


def test_prefill_longer_than_the_window_equals_steps(make_backbone, random_tensor):
    backbone, tokens = make_backbone("dt", 8), random_tensor(2, 29, 16)
    with torch.no_grad():
        whole, last = backbone.prefill(tokens, backbone.initial_state(2))
        state = backbone.initial_state(2)
        for t in range(29):
            out, state = backbone.step(tokens[:, t], state)
            torch.testing.assert_close(whole[:, t], out, atol=1e-5, rtol=1e-5)
    assert torch.equal(last[0], state[0])


def test_caches_grow_with_the_context_and_stop_at_the_window(make_backbone, random_tensor):
    backbone = make_backbone("dt", 100)
    with torch.no_grad():
        _, state = backbone.prefill(random_tensor(1, 65, 16), backbone.initial_state(1))
    assert state[1].shape == (1, 100, 16)
    assert state[2][0][0].shape == (1, 4, 100, 4)


def test_forward_refuses_more_tokens_than_the_window(make_backbone, random_tensor):
    with pytest.raises(UsageError, match=r"9 tokens .* window of 8") as refused:
        make_backbone("dt", 8)(random_tensor(1, 9, 16))
    assert "method.context_length" in refused.value.hint


def test_heads_must_divide_the_width():
    with pytest.raises(ValidationError, match="must divide"):
        TransformerConfig(model_size=18)


def test_initialisation_is_that_of_gpt2():
    backbone = DecisionTransformer(TransformerConfig(embedding_size=64, num_layers=8), context_length=4)
    block = backbone.blocks[3]
    assert block.qkv.weight.std().item() == pytest.approx(0.02, rel=0.02)
    for writes_residual in (block.attention_out, block.mlp_out):
        assert writes_residual.weight.std().item() == pytest.approx(0.02 / 16**0.5, rel=0.02)
    assert all(p.abs().max() == 0 for name, p in backbone.named_parameters() if name.endswith("bias"))


def test_dropout_acts_in_training_only(random_tensor):
    backbone = DecisionTransformer(
        TransformerConfig(model_size=16, dropout=0.3, attention_dropout=0.3), context_length=20
    )
    tokens = random_tensor(2, 20, 16)
    with torch.random.fork_rng(devices=[]):
        assert not torch.equal(backbone(tokens), backbone(tokens))
        assert torch.equal(backbone.eval()(tokens), backbone(tokens))


def test_flash_attention_is_called_in_its_layout_where_it_applies(monkeypatch, random_tensor):
    """Its arguments are (B, T, N, D/N) and its causal mask is aligned to the last key."""
    shapes = []

    def flash_attn_func(queries, keys, values, dropout_p, causal):
        assert causal
        shapes.append([tuple(tensor.shape) for tensor in (queries, keys, values)])
        queries, keys, values = (tensor.transpose(1, 2) for tensor in (queries, keys, values))
        mask = torch.ones(queries.shape[2], keys.shape[2], dtype=torch.bool).tril(keys.shape[2] - queries.shape[2])
        return F.scaled_dot_product_attention(queries, keys, values, mask, dropout_p).transpose(1, 2)

    queries, keys, values = random_tensor(2, 4, 3, 8), random_tensor(2, 4, 5, 8), random_tensor(2, 4, 5, 8)
    expected = causal_attention(queries, keys, values, 0.0)
    module = ModuleType("flash_attn")
    module.flash_attn_func = flash_attn_func
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    monkeypatch.setattr(operation, "_flash_attention_applies", lambda tensor: True)
    torch.testing.assert_close(causal_attention(queries, keys, values, 0.0), expected)
    assert shapes == [[(2, 3, 4, 8), (2, 5, 4, 8), (2, 5, 4, 8)]]


def test_kernel_names_what_runs(make_backbone):
    assert make_backbone("dt").kernel == "attention-numba"
