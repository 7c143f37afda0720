"""Stacked networks of dense layers in plain PyTorch: the yardstick for the kernels, differentiated by autograd.

    y_n = f(x_n W_n + b_n)

where f is nothing, ReLU or tanh, or dropout, layer normalisation (Ba et al., 2016, equation 4) and ReLU. N networks, B rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

Tensor = torch.Tensor


class Layer(NamedTuple):
    """One layer of all N networks."""

    weight: Tensor  # (N, I, J)
    bias: Tensor  # (N, 1, J)
    activation: Callable[[Tensor], Tensor] | None = None
    norm: tuple[Tensor, Tensor, float] | None = None  # weight and bias (N, 1, J), epsilon
    dropped: tuple[Tensor, float] | None = None  # (N, B, J) bool, and the scale of what stays


def networks_reference(inputs: Tensor, layers: Sequence[Layer]) -> Tensor:
    """(K, B, I), each row of which serves N / K neighbouring networks → (N, B, J)."""
    x = inputs.repeat_interleave(len(layers[0].weight) // len(inputs), dim=0)
    for layer in layers:
        x = torch.baddbmm(layer.bias, x, layer.weight)
        if layer.dropped is not None:
            mask, scale = layer.dropped
            x = torch.where(mask, 0.0, x * scale)
        if layer.norm is not None:
            weight, bias, epsilon = layer.norm
            x = torch.addcmul(bias, F.layer_norm(x, x.shape[-1:], eps=epsilon), weight)
        if layer.activation is not None:
            x = layer.activation(x)
    return x
