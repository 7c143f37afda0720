"""The selective scan as its formula reads, one step after the other: the yardstick for the fused kernels.

    dt = softplus(dt + dt_bias)
    h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t        y_t = C_t h_t + D x_t        out_t = y_t silu(z_t)

Mamba (Gu & Dao, arXiv 2312.00752), equation 2 with A discretised by zero-order hold and B by Euler's rule. It works on
every device and dtype and differentiates by autograd; slow, and its memory grows as B · T · E · N.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

Tensor = torch.Tensor


class ScanInputs(NamedTuple):
    """What a scan reads at every step, all of it time-major."""

    x: Tensor  # (B, T, E) inputs, E inner channels
    dt: Tensor  # (B, T, E) step sizes before bias and softplus
    B: Tensor  # (B, T, N) input weights
    C: Tensor  # (B, T, N) output weights
    z: Tensor | None = None  # (B, T, E) gate before SiLU, or None for no gate


class ScanWeights(NamedTuple):
    """What all steps share."""

    A: Tensor  # (E, N), negative
    D: Tensor  # (E) skip
    dt_bias: Tensor | None = None  # (E), added to dt once


def scan_reference(
    sequence: ScanInputs, weights: ScanWeights, initial_state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Outputs (B, T, E) and the last state (B, E, N), from `initial_state` (B, E, N) or zeros on."""
    (x, dt, B, C, z), (A, D, dt_bias) = sequence, weights
    dt = F.softplus(dt if dt_bias is None else dt + dt_bias)  # (B, T, E)
    state = x.new_zeros(x.shape[0], *A.shape) if initial_state is None else initial_state  # (B, E, N)
    outputs = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt[:, t, :, None] * A)  # (B, E, N)
        state = decay * state + (dt[:, t] * x[:, t])[..., None] * B[:, t, None, :]
        outputs.append((state * C[:, t, None, :]).sum(-1) + D * x[:, t])  # (B, E)
    out = torch.stack(outputs, dim=1) if outputs else torch.empty_like(x)  # (B, T, E)
    return (out if z is None else out * F.silu(z)), state
