"""Forward and backward passes of stacked networks written out, for training loops of many small steps.

The products of networks with two hidden layers of 64 units take so little time that autograd's bookkeeping, and the
gradients that a step does not ask for, cost more than they do. `ExplicitGradients` runs a `torch.nn.Sequential` of
`stacked_layers` through the kernels of `kernels/dense/kernel.py`, outside autograd, and writes the gradients into `.grad`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from icrl_plugins.kernels.dense import kernel
from icrl_plugins.kernels.runtime.buffers import empty
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
        self._values = _Memory()
        self._derivatives = _Memory()
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
        kernel.forward(*_plain(forward.inputs, self._layers(), self._kinds, forward.masks, forward.intermediates))
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
        requested = (parameters, tuple(self._gradients(parameters)), first, result.numpy())
        passed = _plain(saved.inputs, self._layers(), self._kinds, saved.masks, saved.intermediates)
        kernel.backward(*passed, gradients.numpy(), requested)
        return None if inputs is None else result

    def _draw_masks(self, batch: int) -> Arrays:
        dropouts = [block.dropout for block in self._blocks]
        if not any(dropouts):
            return (_NO_MASK,) * len(dropouts)
        sizes = [block.linear.weight.shape[2] for block in self._blocks]
        drawn = [None if drop is None else drop.draw((batch, size)) for drop, size in zip(dropouts, sizes, strict=True)]
        return tuple(_NO_MASK if mask is None else mask.numpy() for mask in drawn)

    def _empty_intermediates(self, networks: int, batch: int, result: torch.Tensor) -> kernel.Intermediates:
        """For what a pass leaves, with `result` as the last layer's outputs."""
        last = result.numpy()
        hidden = (empty(last.dtype, networks, batch, block.linear.weight.shape[2]) for block in self._blocks[:-1])
        outputs = (*hidden, last)
        nothing = last[:0]
        if not any(self._norms):
            layers, no_rows = len(outputs), np.empty((0, 0), last.dtype)
            return kernel.Intermediates(outputs, (nothing,) * layers, (no_rows,) * layers)
        normalised = tuple(
            nothing if norm is None else empty(last.dtype, *out.shape)
            for out, norm in zip(outputs, self._norms, strict=True)
        )
        deviations = tuple(np.empty(rows.shape[:2], rows.dtype) for rows in normalised)
        return kernel.Intermediates(outputs, normalised, deviations)

    def _layers(self) -> kernel.Layers:
        """The parameters' arrays."""
        return self._values.of(self._parameters, self._in_layers)

    def _gradients(self, requested: bool) -> kernel.Layers:
        """Where the gradients of `_layers` go; if they are not wanted, buffers for those that it computes anyhow."""
        if requested:
            return self._derivatives.of([_gradient(parameter) for parameter in self._parameters], self._in_layers)
        weights, biases, *by_norms = self._layers()
        buffers = [tuple(np.empty_like(array) for array in arrays) for arrays in by_norms]
        return kernel.Layers(weights, biases, buffers[0], buffers[1])

    def _in_layers(self, arrays: Sequence[Array]) -> kernel.Layers:
        """Arrays in the order of the network's parameters, layer by layer."""
        remaining, rows = iter(arrays), []
        for norm in self._norms:
            weight, bias = next(remaining), next(remaining)
            rows.append((weight, bias, *((weight[:0],) * 2 if norm is None else (next(remaining), next(remaining)))))
        return kernel.Layers(*zip(*rows, strict=True))


class _Memory:
    """The arrays of tensors, made again where one of them was given another memory (a cast, a flattening)."""

    def __init__(self) -> None:
        self._addresses: list[int] = []
        self._layers = kernel.Layers((), (), (), ())

    def of(
        self, tensors: Sequence[torch.Tensor], in_layers: Callable[[Sequence[Array]], kernel.Layers]
    ) -> kernel.Layers:
        """Those of `tensors`, put `in_layers`."""
        addresses = [tensor.data_ptr() for tensor in tensors]
        if addresses != self._addresses:
            self._addresses, self._layers = addresses, in_layers([tensor.detach().numpy() for tensor in tensors])
        return self._layers


def _plain(*named: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Plain tuples, whose types numba looks up faster at a call than those of named ones."""
    return map(tuple, named)


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


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    """Where the gradient of `parameter` is written."""
    if parameter.grad is None:
        parameter.grad = torch.empty_like(parameter)
    return parameter.grad
