"""The selective scan as its formula reads, one step after the other: the yardstick for the fused kernels.

Works on every device and dtype and differentiates by autograd; slow, and its memory grows as B · T · E · N.
Mamba (Gu & Dao, arXiv 2312.00752), equation 2 with A discretised by zero-order hold and B by Euler's rule.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def scan_reference(
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor,
    z: torch.Tensor | None = None,
    dt_bias: torch.Tensor | None = None,
    initial_state: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Arguments and results as `selective_scan` has them: (B, T, E) and the last state (B, E, N)."""
    dt = F.softplus(dt if dt_bias is None else dt + dt_bias)  # (B, T, E)
    state = x.new_zeros(x.shape[0], *A.shape) if initial_state is None else initial_state  # (B, E, N)
    outputs = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt[:, t, :, None] * A)  # (B, E, N)
        state = decay * state + (dt[:, t] * x[:, t])[..., None] * B[:, t, None, :]
        outputs.append((state * C[:, t, None, :]).sum(-1) + D * x[:, t])  # (B, E)
    out = torch.stack(outputs, dim=1)  # (B, T, E)
    return (out if z is None else out * F.silu(z)), state
