"""Forward and backward passes of stacked networks written out, for training loops of many small steps.

The products of networks with two hidden layers of 64 units take so little time that autograd's bookkeeping, and the
gradients that a step does not ask for, cost more than they do. `ExplicitGradients` runs a `torch.nn.Sequential` of
`stacked_layers` through the kernels of `dense_kernels.py`, outside autograd, and writes the gradients into `.grad`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from icrl_plugins.networks import dense_kernels
from icrl_plugins.networks.stacked_layers import StackedDropout, StackedLayerNorm, StackedLinear
from icrl_registry.contracts import Array


@dataclass
class _Block:
    """A linear layer and what follows it up to the next one: dropout, then layer normalisation, then an activation."""

    linear: StackedLinear
    dropout: StackedDropout | None = None
    norm: StackedLayerNorm | None = None
    activation: int = dense_kernels.NOTHING

    @property
    def plain(self) -> bool:
        return self.dropout is None and self.norm is None


@dataclass
class _Passed:
    """What the backward pass needs of a block."""

    inputs: torch.Tensor
    outputs: torch.Tensor  # (N, B, J)
    dropped: torch.Tensor | None = None  # (N, B, J)
    normalised: torch.Tensor | None = None  # (N, B, J)
    deviations: torch.Tensor | None = None  # (N, B), one over them


@dataclass
class Tape:
    """What one forward pass leaves for its backward pass."""

    blocks: list[_Passed] = field(default_factory=list)


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

    def forward(self, inputs: torch.Tensor, tape: Tape | None = None) -> torch.Tensor:
        """(K, B, in) → (N, B, out), where each row of inputs serves N / K neighbouring networks. Fills `tape`.

        `inputs` may be some neighbouring columns of a contiguous tensor.
        """
        with torch.no_grad():
            values = inputs
            for block in self._blocks:
                passed = _forward(block, values)
                values = passed.outputs
                if tape is not None:
                    tape.blocks.append(passed)
            return values

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
        with torch.no_grad():
            for index in range(len(self._blocks) - 1, -1, -1):
                block, passed = self._blocks[index], tape.blocks[index]
                _backward_normalisation(block, passed, gradients, parameters)
                if parameters:
                    _backward_parameters(block.linear, passed.inputs, gradients)
                if index > 0:
                    before = self._blocks[index - 1].activation
                    gradients = _backward_hidden(block.linear, gradients, before, tape.blocks[index - 1].outputs)
                elif inputs is not None:
                    return _backward_inputs(block.linear, gradients, inputs)
            return None


def _blocks_of(network: nn.Sequential) -> list[_Block]:
    blocks: list[_Block] = []
    for layer in network:
        match layer:
            case StackedLinear() if not blocks or blocks[-1].activation:
                blocks.append(_Block(layer))
            case StackedDropout() if blocks and not (blocks[-1].norm or blocks[-1].activation):
                blocks[-1].dropout = layer
            case StackedLayerNorm() if blocks and not blocks[-1].activation:
                blocks[-1].norm = layer
            case nn.ReLU() if blocks:
                blocks[-1].activation = dense_kernels.RELU
            case nn.Tanh() if blocks and blocks[-1].plain:
                blocks[-1].activation = dense_kernels.TANH
            case _:
                raise TypeError(f"no explicit gradient for {type(layer).__name__} at this place of {network}")
    if not blocks or blocks[-1].activation:
        raise TypeError(f"the last layer of {network} must be linear")
    return blocks


def _forward(block: _Block, inputs: torch.Tensor) -> _Passed:
    weight, bias = block.linear.weight, block.linear.bias
    networks, _, outputs = weight.shape
    values = torch.empty(networks, inputs.shape[1], outputs, dtype=weight.dtype)
    alone = outputs == 1 and not block.activation  # the last layer of a value network
    if alone and inputs.is_contiguous() and len(inputs) == networks:
        dense_kernels.forward_single(_flat(inputs), _two(weight), _flat(bias), values.numpy()[..., 0])
    else:
        activation = block.activation if block.plain else dense_kernels.NOTHING
        dense_kernels.forward(*_rows(inputs, networks), _array(weight), _array(bias), activation, values.numpy())
    passed = _Passed(inputs, values)
    if not block.plain:
        _normalise(block, passed)
    return passed


def _normalise(block: _Block, passed: _Passed) -> None:
    values = passed.outputs
    passed.dropped = None if block.dropout is None else block.dropout.draw(values.shape[1:])
    scale = 1.0 if block.dropout is None else block.dropout.kept_scale
    if block.norm is None:
        if passed.dropped is not None:
            values.mul_(scale).masked_fill_(passed.dropped, 0.0)
        values.relu_()
        return
    passed.normalised, passed.deviations = torch.empty_like(values), values.new_empty(values.shape[:2])
    dense_kernels.normalise(
        values.numpy(),
        _mask(passed.dropped),
        scale,
        _array(block.norm.weight),
        _array(block.norm.bias),
        block.norm.epsilon,
        passed.normalised.numpy(),
        passed.deviations.numpy(),
    )


def _backward_normalisation(block: _Block, passed: _Passed, gradients: torch.Tensor, parameters: bool) -> None:
    """In place, from behind the ReLU (whose mask is applied already) to the linear layer's outputs."""
    scale = 1.0 if block.dropout is None else block.dropout.kept_scale
    if block.norm is None:
        if passed.dropped is not None:
            gradients.mul_(scale).masked_fill_(passed.dropped, 0.0)
        return
    assert passed.normalised is not None
    assert passed.deviations is not None
    wanted = (block.norm.weight, block.norm.bias)
    by_weight, by_bias = (_gradient(of) if parameters else np.empty_like(_array(of)) for of in wanted)
    dense_kernels.backward_normalise(
        gradients.numpy(),
        _mask(passed.dropped),
        scale,
        _array(block.norm.weight),
        passed.normalised.numpy(),
        passed.deviations.numpy(),
        by_weight,
        by_bias,
    )


def _backward_parameters(linear: StackedLinear, inputs: torch.Tensor, gradients: torch.Tensor) -> None:
    by_weight, by_bias = _gradient(linear.weight), _gradient(linear.bias)
    if gradients.shape[-1] == 1 and inputs.is_contiguous() and len(inputs) == len(gradients):
        dense_kernels.backward_parameters_single(
            inputs.numpy(), gradients.numpy()[..., 0], by_weight[..., 0], by_bias[:, 0, 0]
        )
    else:
        dense_kernels.backward_parameters(*_rows(inputs, len(gradients)), gradients.numpy(), by_weight, by_bias)


def _backward_hidden(
    linear: StackedLinear, gradients: torch.Tensor, activation: int, active: torch.Tensor
) -> torch.Tensor:
    """(N, B, J) → (N, B, I): to behind the activation of the block before."""
    result = torch.empty_like(active)
    outputs = active.numpy(), result.numpy()
    if gradients.shape[-1] == 1:
        dense_kernels.backward_inputs_single(gradients.numpy()[..., 0], _two(linear.weight), activation, *outputs)
    else:
        dense_kernels.backward_inputs(_flat(gradients), _array(linear.weight), 0, activation, *outputs)
    return result


def _backward_inputs(linear: StackedLinear, gradients: torch.Tensor, columns: slice) -> torch.Tensor:
    """(N, B, J) → (N, B, columns)."""
    first, last, _ = columns.indices(linear.weight.shape[1])
    result = gradients.new_empty(*gradients.shape[:2], last - first)
    unused = np.empty((0, 0, 0), dtype=result.numpy().dtype)
    nothing = dense_kernels.NOTHING
    dense_kernels.backward_inputs(_flat(gradients), _array(linear.weight), first, nothing, unused, result.numpy())
    return result


def _rows(inputs: torch.Tensor, networks: int) -> tuple[Array, int, int, int]:
    """Memory, numbers a row, the column where the inputs start, and networks per input."""
    tasks, batch, _ = inputs.shape
    stride = inputs.stride()
    if stride[2] != 1 or stride[0] != batch * stride[1]:
        inputs = inputs.contiguous()
        stride = inputs.stride()
    size = inputs.untyped_storage().nbytes() // inputs.element_size()
    memory = inputs.as_strided((size,), (1,), 0).numpy()
    return memory, stride[1], inputs.storage_offset(), networks // tasks


def _array(parameter: torch.Tensor) -> Array:
    return parameter.detach().numpy()


def _flat(tensor: torch.Tensor) -> Array:
    return tensor.detach().reshape(-1).numpy()


def _two(weight: torch.Tensor) -> Array:
    """(N, I, 1) → (N, I)."""
    return weight.detach().reshape(weight.shape[:2]).numpy()


def _mask(dropped: torch.Tensor | None) -> Array:
    return np.empty((0, 0, 0), dtype=np.bool_) if dropped is None else dropped.numpy()


def _gradient(parameter: nn.Parameter) -> Array:
    """Where the gradient of `parameter` is written."""
    if parameter.grad is None:
        parameter.grad = torch.empty_like(parameter)
    return parameter.grad.numpy()
