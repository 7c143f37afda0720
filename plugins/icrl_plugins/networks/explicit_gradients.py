"""Forward and backward passes of stacked networks written out, for training loops of many small steps.

The products of networks with two hidden layers of 64 units take so little time that autograd's bookkeeping, and the
gradients that a step does not ask for, cost more than they do. `ExplicitGradients` runs a `torch.nn.Sequential` of
`stacked_layers` through the kernels of `kernels/dense/kernel.py`, outside autograd, and writes the gradients into `.grad`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from icrl_plugins.kernels.dense import kernel
from icrl_plugins.networks.stacked_layers import StackedDropout, StackedLayerNorm, StackedLinear
from icrl_registry.contracts import Array

Arrays = tuple[Array, ...]
"""One a layer."""


@dataclass
class _Block:
    """A linear layer and what follows it up to the next one: dropout, then layer normalisation, then an activation."""

    linear: StackedLinear
    dropout: StackedDropout | None = None
    norm: StackedLayerNorm | None = None
    activation: int = kernel.IDENTITY

    @property
    def plain(self) -> bool:
        return self.dropout is None and self.norm is None


@dataclass
class _Pass:
    """What the kernels need of a forward pass, as `kernels/dense/kernel.py` names it."""

    inputs: kernel.Inputs
    masks: Arrays
    intermediates: kernel.Intermediates


@dataclass
class Tape:
    """What one forward pass leaves for its backward pass."""

    saved: _Pass | None = None


class ExplicitGradients:
    """The passes of N stacked networks on the CPU, float32 or float64.

    Args:
        network: linear layers; after each but the last a tanh, or a ReLU and before that possibly dropout, then layer
            normalisation.

    Raises:
        TypeError: it has other layers, or in another order.
    """

    def __init__(self, network: nn.Sequential) -> None:
        self._blocks = _blocks_of(network)
        self._norms = [block.norm for block in self._blocks]
        self._parameters = list(network.parameters())
        self._addresses: list[int] = []
        self._layer_arrays: kernel.Layers = kernel.Layers((), (), (), ())
        self._kinds = kernel.Kinds(
            np.array([block.activation for block in self._blocks]),
            np.array([1.0 if block.dropout is None else block.dropout.scale for block in self._blocks]),
            np.array([0.0 if norm is None else norm.epsilon for norm in self._norms]),
        )

    def forward(self, inputs: torch.Tensor, tape: Tape | None = None) -> torch.Tensor:
        """(K, B, in) → (N, B, out), where each row of inputs serves N / K neighbouring networks. Fills `tape`.

        `inputs` may be some neighbouring columns of a contiguous tensor.
        """
        networks, _, size = self._blocks[-1].linear.weight.shape
        batch = inputs.shape[1]
        result = inputs.new_empty(networks, batch, size)
        num_stored = 1 if tape is None else networks  # networks whose activations are kept
        buffers = self._empty_intermediates(num_stored, batch, result)
        forward = _Pass(_rows(inputs, networks), self._draw_masks(batch), buffers)
        kernel.forward(forward.inputs, self._layers(), self._kinds, forward.masks, forward.intermediates)
        if tape is not None:
            tape.saved = forward
        return result

    def backward(
        self, tape: Tape, gradients: torch.Tensor, parameters: bool = True, inputs: slice | None = None
    ) -> torch.Tensor | None:
        """From the gradients of the outputs, (N, B, out), to those of the parameters (in `.grad`) and of the inputs.

        Args:
            tape: what `forward` filled.
            gradients: contiguous.
            parameters: whether the parameters' gradients are wanted.
            inputs: which columns of the inputs' gradients are wanted; none by default.

        Returns:
            (N, B, columns), or None.
        """
        saved = tape.saved
        assert saved is not None, "the forward pass was given no tape"
        first, last, _ = (inputs or slice(0, 0)).indices(self._blocks[0].linear.weight.shape[1])
        result = gradients.new_empty(*gradients.shape[:2], last - first)
        kernel.backward(
            saved.inputs, self._layers(), self._kinds, saved.masks, saved.intermediates, gradients.numpy(),
            kernel.RequestedGradients(parameters, self._gradients(parameters), first, result.numpy()),
        )  # fmt: skip
        return None if inputs is None else result

    def _draw_masks(self, batch: int) -> Arrays:
        dropouts = [block.dropout for block in self._blocks]
        sizes = [block.linear.weight.shape[2] for block in self._blocks]
        drawn = [None if drop is None else drop.draw((batch, size)) for drop, size in zip(dropouts, sizes, strict=True)]
        return tuple(_NO_MASK if mask is None else mask.numpy() for mask in drawn)

    def _empty_intermediates(self, networks: int, batch: int, result: torch.Tensor) -> kernel.Intermediates:
        """For what a pass leaves, with `result` as the last layer's outputs."""
        hidden = [result.new_empty(networks, batch, block.linear.weight.shape[2]) for block in self._blocks[:-1]]
        outputs = tuple(tensor.numpy() for tensor in (*hidden, result))
        normalised = tuple(
            out[:0] if norm is None else np.empty_like(out) for out, norm in zip(outputs, self._norms, strict=True)
        )
        deviations = tuple(np.empty(each.shape[:2], each.dtype) for each in normalised)
        return kernel.Intermediates(outputs, normalised, deviations)

    def _layers(self) -> kernel.Layers:
        """The parameters' memory, looked up again where a parameter was given another (a cast, a flattening)."""
        addresses = [parameter.data_ptr() for parameter in self._parameters]
        if addresses != self._addresses:
            self._addresses = addresses
            self._layer_arrays = self._each_layer(lambda parameter: parameter.detach().numpy())
        return self._layer_arrays

    def _gradients(self, requested: bool) -> kernel.Layers:
        """Where the gradients of `_layers` go; if they are not wanted, buffers for those that it computes anyhow."""
        if requested:
            return self._each_layer(_gradient)
        weights, biases, *by_norms = self._layers()
        buffers = [tuple(np.empty_like(array) for array in arrays) for arrays in by_norms]
        return kernel.Layers(weights, biases, buffers[0], buffers[1])

    def _each_layer(self, array_of: Callable[[nn.Parameter], Array]) -> kernel.Layers:
        linears = [block.linear for block in self._blocks]
        weights = tuple(array_of(linear.weight) for linear in linears)
        empty = weights[0][:0]
        return kernel.Layers(
            weights,
            tuple(array_of(linear.bias) for linear in linears),
            tuple(empty if norm is None else array_of(norm.weight) for norm in self._norms),
            tuple(empty if norm is None else array_of(norm.bias) for norm in self._norms),
        )


_NO_MASK: Array = np.empty((0, 0, 0), dtype=np.bool_)


def _blocks_of(network: Sequence[nn.Module] | nn.Sequential) -> list[_Block]:
    blocks: list[_Block] = []
    for layer in network:
        match layer:
            case StackedLinear() if not blocks or blocks[-1].activation:
                blocks.append(_Block(layer))
            case StackedDropout() if blocks and blocks[-1].plain and not blocks[-1].activation:
                blocks[-1].dropout = layer
            case StackedLayerNorm() if blocks and not (blocks[-1].norm or blocks[-1].activation):
                blocks[-1].norm = layer
            case nn.ReLU() if blocks and not blocks[-1].activation:
                blocks[-1].activation = kernel.RELU
            case nn.Tanh() if blocks and blocks[-1].plain and not blocks[-1].activation:
                blocks[-1].activation = kernel.TANH
            case _:
                raise TypeError(f"no explicit gradient for {type(layer).__name__} at this position of {network}")
    if not blocks or blocks[-1].activation or not blocks[-1].plain:
        raise TypeError(f"the last layer of {network} must be linear")
    return blocks


def _rows(inputs: torch.Tensor, networks: int) -> kernel.Inputs:
    """Memory, numbers a row, the column where the inputs start, and networks per input."""
    tasks, batch, width = inputs.shape
    task_stride, row_stride, column_stride = inputs.stride()
    if column_stride != 1 or task_stride != batch * row_stride:
        inputs, row_stride = inputs.contiguous(), width  # its strides say nothing along an axis of one
    numbers = inputs.untyped_storage().nbytes() // inputs.element_size()
    memory = inputs.detach().as_strided((numbers,), (1,), 0).numpy()
    return kernel.Inputs(memory, row_stride, int(inputs.storage_offset()), networks // tasks)


def _gradient(parameter: nn.Parameter) -> Array:
    """Where the gradient of `parameter` is written."""
    if parameter.grad is None:
        parameter.grad = torch.empty_like(parameter)
    return parameter.grad.numpy()
