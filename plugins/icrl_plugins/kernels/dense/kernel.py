"""Forward and backward passes of N stacked networks of dense layers: one call a pass, one network after the other.

    y_n = f(x_n W_n + b_n)      dx_n = dy_n W_nᵀ f'(x_n)      dW_n = x_nᵀ dy_n, db_n = Σ dy_n

where f is nothing, ReLU or tanh, or dropout, layer normalisation and ReLU. Layer by layer the activations of all networks
would go through the third-level cache; network by network they stay in the second. Each network's numbers are added up in
the same order wherever it stands in the stack.

Letters: N networks, B rows, I inputs, J outputs. `masks` is what is dropped: a tuple of (N, B, J) booleans, (0, 0, 0) where
nothing is. The plain formula is in reference.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from icrl_plugins.kernels.dense.normalisation import (
    Affine,
    RowBlock,
    SavedRows,
    drop,
    normalise,
    normalise_backwards,
    relu_in_place,
)
from icrl_plugins.kernels.dense.product import (
    BIASED,
    BIASED_RELU,
    BIASED_TANH,
    RAW,
    RELU_DERIVATIVE,
    TANH_DERIVATIVE,
    new_padding,
    product,
)
from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.vectors import JIT, lane_count, lane_sum, load, splat, store
from icrl_registry.contracts import Array


class Inputs(NamedTuple):
    """The first layer's: some columns of a flat array of `row_length` numbers a row, from `column` on.

    They serve `copies` neighbouring networks each.
    """

    numbers: Array
    row_length: int
    column: int
    copies: int


class Layers(NamedTuple):
    """Parameters or their gradients, an array a layer: (N, I, J), (N, 1, J), and the layer normalisations' (N, 1, J) twice.

    (0, 0, 0) where there is no normalisation.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    norm_weights: tuple[Array, ...]
    norm_biases: tuple[Array, ...]


class Kinds(NamedTuple):
    """An entry a layer: the activation, the scale of what dropout keeps, the normalisation's epsilon."""

    activations: Array
    dropout_scales: Array
    epsilons: Array


class Intermediates(NamedTuple):
    """What a pass leaves, an array a layer: outputs (N, B, J), normalised (N, B, J), one over their deviations (N, B).

    An array with room for one network alone (a leading 1) is written over by each: enough where there is no backward pass.
    """

    outputs: tuple[Array, ...]
    normalised: tuple[Array, ...]
    deviations: tuple[Array, ...]


class RequestedGradients(NamedTuple):
    """Which gradients: the parameters' in `layers`, if `parameters`; the inputs' (N, B, C) from `first_input` on.

    If the parameters' are not wanted, only the arrays for normalisation are written, and mean nothing. `inputs` may be empty.
    """

    parameters: bool
    layers: Layers
    first_input: int
    inputs: Array


#: What is applied to a layer's outputs; the derivatives of both follow from what came out.
IDENTITY, RELU, TANH = 0, 1, 2


@compiled
def forward(inputs, layers, kinds, masks, intermediates) -> None:
    """Fills `intermediates`; the networks' outputs are the last layer's."""
    x, row_length, column, copies = inputs
    weights, biases, norm_weights, norm_biases = layers
    activations, dropout_scales, epsilons = kinds
    outputs, normalised, deviations = intermediates
    networks, rows, _ = outputs[-1].shape
    padding = new_padding(_largest_axis(weights, rows), x)
    for n in range(networks):
        a, origin, row = x, n // copies * rows * row_length + column, row_length
        for k in range(len(weights)):
            _, size_in, size = weights[k].shape
            out, offset = outputs[k].reshape(-1), n % len(outputs[k]) * rows * size
            weight, bias, bias_offset = weights[k].reshape(-1), biases[k].reshape(-1), n * size
            has_dropout, has_norm = masks[k].size > 0, norm_weights[k].size > 0
            epilogue = BIASED
            if not (has_dropout or has_norm) and activations[k] != IDENTITY:
                epilogue = BIASED_RELU if activations[k] == RELU else BIASED_TANH
            if size == 1 and epilogue == BIASED:
                _dot_rows((a, origin, row), (weight, n * size_in, bias[n]), (out, offset), rows, size_in)
            else:
                right = (weight, bias_offset * size_in, size)
                shape = (rows, size_in, size)
                product((a, origin, row, 1), right, epilogue, (bias, bias_offset, 0), (out, offset), shape, padding)
            if has_dropout:
                drop(out, offset, masks[k][n], dropout_scales[k])
            if has_norm:
                normalised_rows, inverse_deviations = normalised[k].reshape(-1), deviations[k].reshape(-1)
                first_row = n % len(normalised[k]) * rows
                affine = Affine(norm_weights[k].reshape(-1), norm_biases[k].reshape(-1), bias_offset)
                saved = SavedRows(normalised_rows, first_row * size, inverse_deviations, first_row)
                normalise(RowBlock(out, offset, rows, size), affine, epsilons[k], saved)
            elif has_dropout:
                relu_in_place(out, offset, rows * size)
            a, origin, row = out, offset, size


@compiled
def backward(inputs, layers, kinds, masks, intermediates, gradients, requested) -> None:
    """From the gradients of the outputs (N, B, J) to those of the parameters and of some inputs."""
    with_parameters, grad_layers, first_input, grad_inputs = requested
    x, row_length, column, copies = inputs
    weights, _, norm_weights, _ = layers
    activations, dropout_scales, _ = kinds
    outputs, normalised, deviations = intermediates
    grad_weights, grad_biases, grad_norm_weights, grad_norm_biases = grad_layers
    networks, rows, last_size = gradients.shape
    largest_axis = _largest_axis(weights, rows)
    padding, panel = new_padding(largest_axis, x), _aligned_buffer(_largest_matrix(weights), x)
    gradient_buffers = _aligned_buffer(rows * largest_axis, x), _aligned_buffer(rows * largest_axis, x)
    for n in range(networks):
        gradient, offset = gradients.reshape(-1), n * rows * last_size
        for k in range(len(weights) - 1, -1, -1):
            _, size_in, size = weights[k].shape
            if norm_weights[k].size > 0:
                saved = SavedRows(normalised[k].reshape(-1), n * rows * size, deviations[k].reshape(-1), n * rows)
                grad_affine = Affine(grad_norm_weights[k].reshape(-1), grad_norm_biases[k].reshape(-1), n * size)
                gradients_of_rows = RowBlock(gradient, offset, rows, size)
                normalise_backwards(gradients_of_rows, norm_weights[k].reshape(-1), saved, grad_affine)
            if masks[k].size > 0:
                drop(gradient, offset, masks[k][n], dropout_scales[k])
            if with_parameters:
                left = (x, n // copies * rows * row_length + column, 1, row_length)
                if k > 0:
                    left = (outputs[k - 1].reshape(-1), n * rows * size_in, 1, size_in)
                _parameter_gradients(left, gradient, offset, rows, grad_weights[k], grad_biases[k], n, padding)
            weight, weight_offset = weights[k].reshape(-1), n * size_in * size
            if k > 0:
                if size > 1:
                    _transpose(weight, weight_offset, size_in, size, panel)
                    weight, weight_offset = panel, 0
                epilogue = RELU_DERIVATIVE if activations[k - 1] == RELU else TANH_DERIVATIVE
                previous = (outputs[k - 1].reshape(-1), n * rows * size_in, size_in)
                next_gradient, shape = gradient_buffers[k % 2], (rows, size, size_in)
                right = (weight, weight_offset, size_in)
                product((gradient, offset, size, 1), right, epilogue, previous, (next_gradient, 0), shape, padding)
                gradient, offset = next_gradient, 0
            elif grad_inputs.size > 0:
                columns = grad_inputs.shape[2]
                _transpose(weight, weight_offset + first_input * size, columns, size, panel)
                right = (panel, 0, columns)
                result = (grad_inputs.reshape(-1), n * rows * columns)
                product((gradient, offset, size, 1), right, RAW, right, result, (rows, size, columns), padding)


@njit(**JIT)
def _parameter_gradients(left, gradient, offset, rows, grad_weights, grad_biases, n, padding):
    """Of a layer of network n; `left` is its inputs transposed, the gradients of its outputs begin at `offset`."""
    (a, origin, _, row), one = left, np.ones(1, gradient.dtype)
    _, size_in, size = grad_weights.shape
    grad_weight, weight_offset = grad_weights.reshape(-1), n * size_in * size
    _sum_rows((gradient, offset, size), (one, 0, 0), (grad_biases.reshape(-1), n * size), rows, size)
    if size == 1:
        _sum_rows((a, origin, row), (gradient, offset, 1), (grad_weight, weight_offset), rows, size_in)
    else:
        right = (gradient, offset, size)
        product(left, right, RAW, right, (grad_weight, weight_offset), (size_in, rows, size), padding)


@compiled
def sum_over_rows(values, out) -> None:
    """values (N, B, J) → out (N, 1, J)."""
    networks, rows, size = values.shape
    flat, one = values.reshape(-1), np.ones(1, values.dtype)
    for n in range(networks):
        _sum_rows((flat, n * rows * size, size), (one, 0, 0), (out.reshape(-1), n * size), rows, size)


@njit(**JIT)
def _largest_axis(weights, rows):
    """The largest number of rows, inputs or outputs."""
    largest_axis = rows
    for weight in weights:
        largest_axis = max(largest_axis, weight.shape[1], weight.shape[2])
    return largest_axis


@njit(**JIT)
def _largest_matrix(weights):
    """The numbers in the largest of one network's matrices."""
    largest = 0
    for weight in weights:
        largest = max(largest, weight.shape[1] * weight.shape[2])
    return largest


@njit(**JIT)
def _aligned_buffer(size, like):
    """Room for `size` numbers that begins where a cache line does."""
    lanes = lane_count(like)
    buffer = np.empty(size + lanes, like.dtype)
    skipped = (-buffer.ctypes.data) % 64 // buffer.itemsize
    return buffer[skipped : skipped + size]


@njit(**JIT)
def _transpose(matrix, offset, rows, columns, panel):
    """panel[c, r] = matrix[r, c], tile by tile, so that neither side jumps through memory."""
    for r0 in range(0, rows, 16):
        for c0 in range(0, columns, 16):
            for r in range(r0, min(r0 + 16, rows)):
                for c in range(c0, min(c0 + 16, columns)):
                    panel[c * rows + r] = matrix[offset + r * columns + c]


@njit(**JIT)
def _dot_rows(left, layer, result, rows, size):
    """A layer with one output: each row of x times the weights, plus the bias."""
    (x, origin, row), (weight, weight_offset, bias), (out, offset) = left, layer, result
    lanes = lane_count(weight)
    whole = size // lanes * lanes
    for b in range(rows):
        row_offset = origin + b * row
        sums = splat(weight.dtype.type(0.0))
        for i in range(0, whole, lanes):
            sums = sums + load(x, row_offset + i) * load(weight, weight_offset + i)
        total = lane_sum(sums) + bias
        for i in range(whole, size):
            total += x[row_offset + i] * weight[weight_offset + i]
        out[offset + b] = total


@njit(**JIT)
def _sum_rows(matrix, scales, result, rows, size):
    """Rows of x, each times its factor, added up; the factors are `stride` from each other, 0: there is one for all."""
    (x, origin, row), (factors, offset, stride), (out, out_offset) = matrix, scales, result
    lanes, zero = lane_count(x), x.dtype.type(0.0)
    whole, fours = size // lanes * lanes, rows // 4 * 4
    for j in range(0, whole, lanes):
        row_offset, factor_offset = origin + j, offset
        s0, s1, s2, s3 = splat(zero), splat(zero), splat(zero), splat(zero)
        for _ in range(0, fours, 4):
            s0 = s0 + splat(factors[factor_offset]) * load(x, row_offset)
            s1 = s1 + splat(factors[factor_offset + stride]) * load(x, row_offset + row)
            s2 = s2 + splat(factors[factor_offset + 2 * stride]) * load(x, row_offset + 2 * row)
            s3 = s3 + splat(factors[factor_offset + 3 * stride]) * load(x, row_offset + 3 * row)
            row_offset, factor_offset = row_offset + 4 * row, factor_offset + 4 * stride
        for b in range(rows - fours):
            s0 = s0 + splat(factors[factor_offset + b * stride]) * load(x, row_offset + b * row)
        store(out, out_offset + j, (s0 + s1) + (s2 + s3))
    for i in range(whole, size):
        total = zero
        for b in range(rows):
            total += factors[offset + b * stride] * x[origin + b * row + i]
        out[out_offset + i] = total
