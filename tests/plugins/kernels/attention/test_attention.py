"""Our causal attention against PyTorch's and against what attention promises."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from icrl_plugins.kernels.attention.fused import causal_attention_cpu
from icrl_plugins.kernels.attention.kernel import KEYS, ROWS

Tensor = torch.Tensor


def drawn(*shape: int, spread: float = 1.0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Queries, keys, values and a weighting of the outputs."""
    generator = torch.Generator().manual_seed(sum(shape))
    given = [spread * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(4)]
    return [tensor.to(dtype).requires_grad_() for tensor in given]


def by_torch(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(queries, keys, values, is_causal=True)


def with_gradients(attention, queries, keys, values, weighting) -> list[Tensor]:
    out = attention(queries, keys, values)
    gradients = torch.autograd.grad((out * weighting.detach()).sum(), [queries, keys, values])
    return [out.detach(), *gradients]


@pytest.mark.parametrize("steps", [2, ROWS + 1, KEYS, KEYS + 1, 2 * KEYS + ROWS + 3])
@pytest.mark.parametrize("size", [3, 16, 20, 64])
def test_outputs_and_gradients_are_those_of_torch(steps, size):
    given = drawn(2, 3, steps, size)
    for ours, theirs in zip(
        with_gradients(causal_attention_cpu, *given), with_gradients(by_torch, *given), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_gradients_are_those_of_finite_differences():
    assert torch.autograd.gradcheck(causal_attention_cpu, drawn(1, 2, 5, 3)[:3])


@pytest.mark.parametrize("size", [3, 16, 20])
@pytest.mark.parametrize("spread", [0.1, 1.0, 8.0])
def test_float32_is_as_exact_as_torch(spread, size):
    """Scores reach some ±300 with the largest spread: softmaxes of nearly one key."""
    exact = with_gradients(by_torch, *drawn(1, 4, 500, size, spread=spread))
    single = drawn(1, 4, 500, size, spread=spread, dtype=torch.float32)
    ours, theirs = with_gradients(causal_attention_cpu, *single), with_gradients(by_torch, *single)
    for found, reference, true in zip(ours, theirs, exact, strict=True):
        scale = true.abs().max()
        error, allowed = (found - true).abs().max() / scale, (reference - true).abs().max() / scale
        assert error <= 4 * allowed + 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_negative_scores_before_a_block_that_is_not_full(dtype):
    """The rows that fill the last block up must not weigh by what the block before them left."""
    queries, keys, values, weighting = drawn(1, 1, ROWS + 1, 16, dtype=dtype)
    with torch.no_grad():
        queries[..., 0], keys[..., 0] = 60.0, -60.0  # scores of about -900
    found = with_gradients(causal_attention_cpu, queries, keys, values, 100 * weighting)
    expected = with_gradients(by_torch, queries, keys, values, 100 * weighting)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() <= 1e-3 * theirs.abs().max()


@pytest.mark.parametrize("scale", [1e5, 1e9, 1e12])
def test_scores_of_any_size_choose_the_largest(scale):
    """Where PyTorch is finite, so are we: one key takes all of the weight, whichever lane it falls into."""
    queries, keys, values, _ = drawn(1, 1, 2 * KEYS, 16, dtype=torch.float32)
    with torch.no_grad():
        queries.fill_(1.0)
        keys.copy_(
            keys[..., :1].sign() * scale * torch.rand(keys[..., :1].shape, generator=torch.Generator().manual_seed(0))
        )
    found, expected = causal_attention_cpu(queries, keys, values), by_torch(queries, keys, values)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_shapes_that_differ_are_refused():
    queries, keys, values, _ = drawn(1, 2, 5, 3)
    with pytest.raises(ValueError, match="expected equal"):
        causal_attention_cpu(queries, keys[:, :1], values)


def test_no_query_sees_what_comes_later():
    queries, keys, values, _ = drawn(1, 2, 300, 16, dtype=torch.float32)
    changed = [tensor.detach().clone() for tensor in (queries, keys, values)]
    for tensor in changed:
        tensor[:, :, 200:] += 100.0
    before, after = causal_attention_cpu(queries, keys, values), causal_attention_cpu(*changed)
    assert torch.equal(before[:, :, :200], after[:, :, :200])
    assert not torch.equal(before[:, :, 200:], after[:, :, 200:])


def test_what_is_not_a_number_reaches_those_who_see_it():
    queries, keys, values, _ = drawn(1, 1, 200, 16, dtype=torch.float32)
    with torch.no_grad():
        keys[0, 0, 150, 3] = float("nan")
    broken = causal_attention_cpu(queries, keys, values).isnan().all(dim=-1)[0, 0]
    assert not broken[:150].any()
    assert broken[150:].all()


def test_bits_are_the_same_on_any_number_of_threads():
    given = drawn(2, 4, 700, 16, dtype=torch.float32)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(with_gradients(causal_attention_cpu, *given))
    for others in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], others, strict=True))
