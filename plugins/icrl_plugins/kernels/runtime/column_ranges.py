"""Columns of a wider tensor as an array, without a copy: what a block's one projection leaves side by side."""

from __future__ import annotations

from typing import Any

import torch


def rows(tensor: torch.Tensor) -> tuple[Any, int]:
    """(B, T, E) as an array of full rows and the column where they start: half of a wider tensor isn't copied."""
    steps, wide = tensor.shape[1], tensor.stride(1)
    column = tensor.storage_offset()
    if tensor.stride() == (steps * wide, wide, 1) and column + tensor.shape[2] <= wide:
        return tensor.detach().as_strided((tensor.shape[0], steps, wide), tensor.stride(), 0).numpy(), column
    return tensor.detach().contiguous().numpy(), 0
