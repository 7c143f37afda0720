"""The RMS norm in plain PyTorch (Zhang & Sennrich, arXiv 1910.07467, equation 4): the yardstick for the fused kernels.

out = x / sqrt(mean(x²) + epsilon) · weight
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def rms_norm_reference(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """(…, D), (D) → (…, D), the mean being over the last axis."""
    return F.rms_norm(x, weight.shape, weight, epsilon)
