"""Forward and backward passes of stacked tanh perceptrons, written out for training loops of many small steps.

They run outside autograd, whose bookkeeping costs more than the products of such small networks, and write the gradients
of the parameters into `.grad`. Those of the inputs are never asked for.
"""

from __future__ import annotations

import torch
from torch import nn

from icrl_plugins.networks.alignment import aligned, aligned_empty, sum_over_rows
from icrl_plugins.networks.stacked_layers import StackedLinear

Tape = list[torch.Tensor]
"""The inputs of every linear layer, as `forward` left them for `backward`."""


class TanhNetworks:
    """K perceptrons with tanh between their layers, as `stacked_mlp(streams, sizes, nn.Tanh)` makes them.

    Raises:
        TypeError: the network is not linear, tanh, linear, …, linear.
    """

    def __init__(self, network: nn.Sequential) -> None:
        self.layers: list[StackedLinear] = []
        for position, layer in enumerate(network):
            if isinstance(layer, StackedLinear) and position % 2 == 0:
                self.layers.append(layer)
            elif not (isinstance(layer, nn.Tanh) and position % 2 == 1):
                raise TypeError(f"expected linear layers with tanh between them, got {network}")
        if len(network) % 2 == 0:
            raise TypeError(f"the last layer of {network} must be linear")

    @torch.no_grad()
    def forward(self, inputs: torch.Tensor, tape: Tape | None = None) -> torch.Tensor:
        """(K, B, in) → (K, B, out). Fills `tape`, if there is one."""
        values = aligned(inputs)
        for layer in self.layers:
            if layer is not self.layers[0]:
                values = tanh_(values)
            if tape is not None:
                tape.append(values)
            outputs = aligned_empty(*values.shape[:2], layer.weight.shape[2])
            values = torch.baddbmm(layer.bias, values, layer.weight, out=outputs)
        return values

    @torch.no_grad()
    def backward(self, tape: Tape, gradients: torch.Tensor) -> None:
        """From the gradients of the outputs, (K, B, out), to those of the parameters, which must have a `.grad`."""
        gradients = aligned(gradients)
        for layer, inputs in zip(reversed(self.layers), reversed(tape), strict=True):
            torch.bmm(inputs.transpose(1, 2), gradients, out=layer.weight.grad)
            sum_over_rows(gradients, out=layer.bias.grad)
            if layer is not self.layers[0]:
                hidden = torch.bmm(gradients, layer.weight.transpose(1, 2), out=aligned_empty(*inputs.shape))
                gradients = torch.ops.aten.tanh_backward(hidden, inputs, grad_input=hidden)


def tanh_(values: torch.Tensor) -> torch.Tensor:
    """tanh in place, by way of the logistic function: to 2e-7, in a fifth of the time of torch's own."""
    return values.mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0)
