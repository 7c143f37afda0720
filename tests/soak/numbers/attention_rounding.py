"""What causal attention by blocks may be off by beyond its formula, by rounding alone (a-priori, to first order in u = 2⁻²⁴).

With S = Q Kᵀ / √D, P = softmax(S), gradients dO of the outputs O and dP = dO Vᵀ, Dao et al. 2022 (arXiv 2205.14135,
algorithm 4) compute backwards, from a kept number a row, L = m + ℓ with m = max S and ℓ = log Σ exp(S - m) ≥ 0:

    P = exp(S - L)      dV = Pᵀ dO      dS = P ∘ (dP - Δ), Δ = Σ_d dO_d O_d      dQ = dS K / √D      dK = dSᵀ Q / √D

The formula subtracts m, which is exact, and takes Δ as Σ_j P_j dP_j. Two roundings are therefore the algorithm's own:

- L is stored in single precision: |δL| ≤ u |L| (Higham 2002, Accuracy and Stability of Numerical Algorithms, theorem 2.2),
  and |δL| ≤ ℓ, for m is a number of single precision and L is rounded to the nearest. exp makes of it |δP| ≤ P min(u |L|, ℓ).
- dP and Δ are two inner products of D numbers, whose roundings do not cancel where the numbers do (P = 1, dP = Δ):
  |δ(dP - Δ)| ≤ γ_D (|dO| |V|ᵀ + |dO| · |O|), with γ_D = D u / (1 - D u) (Higham, eq. 3.5).
"""

from __future__ import annotations

import math

import torch

from .rounding import ROUNDING

Tensor = torch.Tensor


def attention_rounding(queries: Tensor, keys: Tensor, values: Tensor, grad_out: Tensor) -> list[Tensor]:
    """Bounds on the errors of the outputs and of the gradients by queries, keys and values, each (B, N, T, D)."""
    queries, keys, values, grad_out = (tensor.double() for tensor in (queries, keys, values, grad_out))
    steps, size = queries.shape[-2:]
    visible = torch.ones(steps, steps, dtype=torch.bool).tril()
    scores = (queries @ keys.transpose(2, 3) / math.sqrt(size)).masked_fill(~visible, -math.inf)  # (B, N, T, T)
    logsums = scores.logsumexp(-1, keepdim=True)
    weights = (scores - logsums).exp()
    out, grad_weights = weights @ values, grad_out @ values.transpose(2, 3)
    deltas = (grad_out * out).sum(-1, keepdim=True)
    of_weights = weights * torch.minimum(ROUNDING * logsums.abs(), logsums - scores.amax(-1, keepdim=True))
    of_inner = grad_out.abs() @ values.abs().transpose(2, 3) + (grad_out * out).abs().sum(-1, keepdim=True)
    gamma = size * ROUNDING / (1 - size * ROUNDING)
    of_scores = (of_weights * (grad_weights - deltas).abs() + gamma * weights * of_inner) / math.sqrt(size)
    return [
        torch.zeros_like(out),
        of_scores @ keys.abs(),
        of_scores.transpose(2, 3) @ queries.abs(),
        of_weights.transpose(2, 3) @ grad_out.abs(),
    ]
