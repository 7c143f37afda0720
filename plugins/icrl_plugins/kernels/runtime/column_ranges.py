"""Columns of a wider tensor as an array, without a copy: what a block's one projection leaves side by side."""

from __future__ import annotations

from typing import Any

import torch


def rows(tensor: torch.Tensor) -> tuple[Any, int]:
    """(B, T, E) as an array of full rows and the column where they start: half of a wider tensor isn't copied."""
    steps, row_length = tensor.shape[1], tensor.stride(1)
    column = int(tensor.storage_offset())
    if tensor.stride() == (steps * row_length, row_length, 1) and column + tensor.shape[2] <= row_length:
        return tensor.detach().as_strided((tensor.shape[0], steps, row_length), tensor.stride(), 0).numpy(), column
    return tensor.detach().contiguous().numpy(), 0
