"""Forward and backward passes of stacked networks written out, for training loops of many small steps.

The products of networks with two hidden layers of 64 units take so little time that autograd's bookkeeping, and the
gradients that a step does not ask for, cost as much again. `forward` and `backward` here run the layers of a
`torch.nn.Sequential` of `stacked_layers`, outside autograd, and write the gradients of the parameters into `.grad`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from icrl_plugins.networks.stacked_layers import StackedDropout, StackedLayerNorm, StackedLinear


@dataclass
class Tape:
    """What the backward pass of one forward pass needs, by layer."""

    saved: list[Any] = field(default_factory=list)


@torch.no_grad()
def forward(network: nn.Sequential, inputs: torch.Tensor, tape: Tape | None = None) -> torch.Tensor:
    """(K, B, in) → (K, B, out). Fills `tape`, if there is one. ReLU works in place, as its input is not needed again."""
    values = inputs
    for layer in network:
        saved: Any = None
        match layer:
            case StackedLinear():
                saved, values = values, layer(values)
            case nn.ReLU():
                saved = values = values.relu_()
            case StackedDropout():
                saved = layer.draw_mask(values.shape[1:], values.dtype)
                values = values if saved is None else values.mul_(saved)
            case StackedLayerNorm():
                normalised, mean, rstd = torch.native_layer_norm(values, values.shape[-1:], None, None, layer.epsilon)
                saved = values, normalised, mean, rstd
                values = torch.addcmul(layer.bias, normalised, layer.weight)
            case _:
                raise TypeError(f"no explicit gradient for {type(layer).__name__}")
        if tape is not None:
            tape.saved.append(saved)
    return values


@torch.no_grad()
def backward(
    network: nn.Sequential,
    tape: Tape,
    gradients: torch.Tensor,
    parameters: bool = True,
    inputs: slice | None = None,
) -> torch.Tensor | None:
    """From the gradients of the outputs, (K, B, out), to those of the parameters (into `.grad`) and of the inputs.

    Args:
        network: what `forward` ran.
        tape: what it filled; used up.
        gradients: may be overwritten.
        parameters: whether the parameters' gradients are wanted.
        inputs: which columns of the inputs' gradients are wanted; none by default.

    Returns:
        (K, B, columns), or None.
    """
    last = len(network) - 1
    for index in range(last, -1, -1):
        layer, saved = network[index], tape.saved[index]
        match layer:
            case StackedLinear():
                if parameters:
                    torch.bmm(saved.transpose(1, 2), gradients, out=_gradient(layer.weight))
                    torch.sum(gradients, dim=1, keepdim=True, out=_gradient(layer.bias))
                if index > 0:
                    gradients = torch.bmm(gradients, layer.weight.transpose(1, 2))
                elif inputs is not None:
                    return torch.bmm(gradients, layer.weight[:, inputs].transpose(1, 2))
            case nn.ReLU():
                gradients = torch.ops.aten.threshold_backward(gradients, saved, 0)
            case StackedDropout():
                gradients = gradients if saved is None else gradients.mul_(saved)
            case StackedLayerNorm():
                values, normalised, mean, rstd = saved
                if parameters:
                    torch.sum(gradients * normalised, dim=1, keepdim=True, out=_gradient(layer.weight))
                    torch.sum(gradients, dim=1, keepdim=True, out=_gradient(layer.bias))
                gradients = torch.ops.aten.native_layer_norm_backward(
                    gradients * layer.weight, values, values.shape[-1:], mean, rstd, None, None, [True, False, False]
                )[0]
    return None


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    """Where the gradient of `parameter` is written."""
    if parameter.grad is None:
        parameter.grad = torch.empty_like(parameter)
    return parameter.grad
