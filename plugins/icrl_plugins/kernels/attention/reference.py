"""Causal attention in plain PyTorch: the yardstick for the fused kernels.

softmax(Q Kᵀ / √D) V     where query i sees the keys 0 … S - T + i
"""

from __future__ import annotations

import math

import torch

Tensor = torch.Tensor


def attention_reference(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Queries (B, N, T, D), the last T of S ≥ T positions; keys and values (B, N, S, D) → (B, N, T, D)."""
    steps, seen = queries.shape[2], keys.shape[2]
    visible = torch.ones(steps, seen, dtype=torch.bool, device=queries.device).tril(seen - steps)
    scores = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[-1])  # (B, N, T, S)
    return scores.masked_fill(~visible, -math.inf).softmax(-1) @ values
