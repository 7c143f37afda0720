"""One door to causal attention: ours over whole windows on the CPU, flash-attn's on CUDA, else PyTorch's."""

from __future__ import annotations

from importlib.util import find_spec

import torch
import torch.nn.functional as F

Tensor = torch.Tensor


def _flash_attention_applies(tensor: Tensor) -> bool:
    """Whether the flash-attn package runs this: installed, on CUDA, in half precision."""
    half = tensor.dtype in (torch.float16, torch.bfloat16)
    return tensor.device.type == "cuda" and half and find_spec("flash_attn") is not None


def _fused_attention_applies(tensor: Tensor, dropout: float) -> bool:
    """Whether our own kernel runs a whole window of this: on the CPU, without dropout."""
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64) and dropout == 0


def attention_kernel(tensor: Tensor, dropout: float) -> str:
    """Which kernel runs whole windows of this device and precision: what a result row records."""
    if _flash_attention_applies(tensor):
        return "flash-attn"
    return "attention-numba" if _fused_attention_applies(tensor, dropout) else "torch-sdpa"


def causal_attention(queries: Tensor, keys: Tensor, values: Tensor, dropout: float) -> Tensor:
    """Attention of the last T positions over all S ≥ T so far: (B, N, T, D/N) and twice (B, N, S, D/N) → (B, N, T, D/N).

    Query i sees keys 0 … S - T + i. PyTorch's causal flag aligns the mask to the first key instead, so it serves S = T only.
    """
    if _flash_attention_applies(queries):
        from flash_attn import flash_attn_func

        time_first = (tensor.transpose(1, 2) for tensor in (queries, keys, values))
        attended: Tensor = flash_attn_func(*time_first, dropout_p=dropout, causal=True)  # aligned to the last key
        return attended.transpose(1, 2)
    steps, seen = queries.shape[2], keys.shape[2]
    mask = None
    if 1 < steps < seen:
        mask = torch.ones(steps, seen, dtype=torch.bool, device=queries.device).tril(seen - steps)
    causal = steps > 1 and steps == seen
    if causal and _fused_attention_applies(queries, dropout):
        from icrl_plugins.kernels.attention.fused import causal_attention_cpu

        return causal_attention_cpu(queries, keys, values)
    return F.scaled_dot_product_attention(queries, keys, values, mask, dropout, is_causal=causal)
