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

from icrl_plugins.kernels.dense.normalisation import Affine, Kept, Rows, drop, normalise, normalise_backwards, rectify
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
    kept_scales: Array
    epsilons: Array


class Passed(NamedTuple):
    """What a pass leaves, an array a layer: outputs (N, B, J), normalised (N, B, J), one over their deviations (N, B).

    An array with room for one network alone (a leading 1) is written over by each: enough where there is no way back.
    """

    outputs: tuple[Array, ...]
    normalised: tuple[Array, ...]
    deviations: tuple[Array, ...]


class Wanted(NamedTuple):
    """Which gradients: the parameters' in `layers`, if `parameters`; the inputs' (N, B, C) from `first_input` on.

    If the parameters' are not wanted, only the arrays for normalisation are written, and mean nothing. `inputs` may be empty.
    """

    parameters: bool
    layers: Layers
    first_input: int
    inputs: Array


#: What is applied to a layer's outputs; the derivatives of both follow from what came out.
NOTHING, RELU, TANH = 0, 1, 2


@compiled
def forward(inputs, layers, kinds, masks, passed):
    """Fills `passed`; the networks' outputs are the last layer's."""
    x, row_length, column, copies = inputs
    weights, biases, norm_weights, norm_biases = layers
    activations, kept_scales, epsilons = kinds
    outputs, normalised, deviations = passed
    networks, rows, _ = outputs[-1].shape
    padding = new_padding(_tallest(weights, rows), x)
    for n in range(networks):
        a, origin, row = x, n // copies * rows * row_length + column, row_length
        for k in range(len(weights)):
            _, size_in, size = weights[k].shape
            out, at = outputs[k].reshape(-1), n % len(outputs[k]) * rows * size
            weight, bias, place = weights[k].reshape(-1), biases[k].reshape(-1), n * size
            drops, norms = masks[k].size > 0, norm_weights[k].size > 0
            finish = BIASED
            if not (drops or norms) and activations[k] != NOTHING:
                finish = BIASED_RELU if activations[k] == RELU else BIASED_TANH
            if size == 1 and finish == BIASED:
                _dot_rows((a, origin, row), (weight, n * size_in, bias[n]), (out, at), rows, size_in)
            else:
                right = (weight, place * size_in, size)
                shape = (rows, size_in, size)
                product((a, origin, row, 1), right, finish, (bias, place, 0), (out, at), shape, padding)
            if drops:
                drop(out, at, masks[k][n], kept_scales[k])
            if norms:
                held, inverses = normalised[k].reshape(-1), deviations[k].reshape(-1)
                slot = n % len(normalised[k]) * rows
                affine = Affine(norm_weights[k].reshape(-1), norm_biases[k].reshape(-1), place)
                normalise(Rows(out, at, rows, size), affine, epsilons[k], Kept(held, slot * size, inverses, slot))
            elif drops:
                rectify(out, at, rows * size)
            a, origin, row = out, at, size


@compiled
def backward(inputs, layers, kinds, masks, passed, gradients, wanted):
    """From the gradients of the outputs (N, B, J) to those of the parameters and of some inputs."""
    with_parameters, by_layers, first_input, by_inputs = wanted
    x, row_length, column, copies = inputs
    weights, _, norm_weights, _ = layers
    activations, kept_scales, _ = kinds
    outputs, normalised, deviations = passed
    by_weights, by_biases, by_norm_weights, by_norm_biases = by_layers
    networks, rows, last_size = gradients.shape
    tallest = _tallest(weights, rows)
    padding, panel = new_padding(tallest, x), _aligned(_largest(weights), x)
    spares = _aligned(rows * tallest, x), _aligned(rows * tallest, x)
    for n in range(networks):
        gradient, at = gradients.reshape(-1), n * rows * last_size
        for k in range(len(weights) - 1, -1, -1):
            _, size_in, size = weights[k].shape
            if norm_weights[k].size > 0:
                kept = Kept(normalised[k].reshape(-1), n * rows * size, deviations[k].reshape(-1), n * rows)
                by_affine = Affine(by_norm_weights[k].reshape(-1), by_norm_biases[k].reshape(-1), n * size)
                normalise_backwards(Rows(gradient, at, rows, size), norm_weights[k].reshape(-1), kept, by_affine)
            if masks[k].size > 0:
                drop(gradient, at, masks[k][n], kept_scales[k])
            if with_parameters:
                left = (x, n // copies * rows * row_length + column, 1, row_length)
                if k > 0:
                    left = (outputs[k - 1].reshape(-1), n * rows * size_in, 1, size_in)
                _parameter_gradients(left, gradient, at, rows, by_weights[k], by_biases[k], n, padding)
            weight, place = weights[k].reshape(-1), n * size_in * size
            if k > 0:
                if size > 1:
                    _transpose(weight, place, size_in, size, panel)
                    weight, place = panel, 0
                finish = RELU_DERIVATIVE if activations[k - 1] == RELU else TANH_DERIVATIVE
                before, to = (outputs[k - 1].reshape(-1), n * rows * size_in, size_in), spares[k % 2]
                right = (weight, place, size_in)
                product((gradient, at, size, 1), right, finish, before, (to, 0), (rows, size, size_in), padding)
                gradient, at = to, 0
            elif by_inputs.size > 0:
                columns = by_inputs.shape[2]
                _transpose(weight, place + first_input * size, columns, size, panel)
                chosen = (panel, 0, columns)
                result = (by_inputs.reshape(-1), n * rows * columns)
                product((gradient, at, size, 1), chosen, RAW, chosen, result, (rows, size, columns), padding)


@njit(**JIT)
def _parameter_gradients(left, gradient, at, rows, by_weights, by_biases, n, padding):
    """Of a layer of network n; `left` is its inputs transposed, the gradients of its outputs begin at `at`."""
    (a, origin, _, row), one = left, np.ones(1, gradient.dtype)
    _, size_in, size = by_weights.shape
    by_weight, place = by_weights.reshape(-1), n * size_in * size
    _sum_rows((gradient, at, size), (one, 0, 0), (by_biases.reshape(-1), n * size), rows, size)
    if size == 1:
        _sum_rows((a, origin, row), (gradient, at, 1), (by_weight, place), rows, size_in)
    else:
        right = (gradient, at, size)
        product(left, right, RAW, right, (by_weight, place), (size_in, rows, size), padding)


@compiled
def sum_over_rows(values, out):
    """values (N, B, J) → out (N, 1, J)."""
    networks, rows, size = values.shape
    flat, one = values.reshape(-1), np.ones(1, values.dtype)
    for n in range(networks):
        _sum_rows((flat, n * rows * size, size), (one, 0, 0), (out.reshape(-1), n * size), rows, size)


@njit(**JIT)
def _tallest(weights, rows):
    """The largest number of rows, inputs or outputs."""
    tallest = rows
    for weight in weights:
        tallest = max(tallest, weight.shape[1], weight.shape[2])
    return tallest


@njit(**JIT)
def _largest(weights):
    """The numbers in the largest of one network's matrices."""
    largest = 0
    for weight in weights:
        largest = max(largest, weight.shape[1] * weight.shape[2])
    return largest


@njit(**JIT)
def _aligned(size, like):
    """Room for `size` numbers that begins where a cache line does."""
    lanes = lane_count(like)
    room = np.empty(size + lanes, like.dtype)
    skipped = (-room.ctypes.data) % 64 // room.itemsize
    return room[skipped : skipped + size]


@njit(**JIT)
def _transpose(matrix, at, rows, columns, panel):
    """panel[c, r] = matrix[r, c], tile by tile, so that neither side jumps through memory."""
    for r0 in range(0, rows, 16):
        for c0 in range(0, columns, 16):
            for r in range(r0, min(r0 + 16, rows)):
                for c in range(c0, min(c0 + 16, columns)):
                    panel[c * rows + r] = matrix[at + r * columns + c]


@njit(**JIT)
def _dot_rows(left, layer, result, rows, size):
    """A layer with one output: each row of x times the weights, plus the bias."""
    (x, origin, row), (weight, place, bias), (out, at) = left, layer, result
    lanes = lane_count(weight)
    whole = size // lanes * lanes
    for b in range(rows):
        here = origin + b * row
        sums = splat(weight.dtype.type(0.0))
        for i in range(0, whole, lanes):
            sums = sums + load(x, here + i) * load(weight, place + i)
        total = lane_sum(sums) + bias
        for i in range(whole, size):
            total += x[here + i] * weight[place + i]
        out[at + b] = total


@njit(**JIT)
def _sum_rows(matrix, scales, result, rows, size):
    """Rows of x, each times its factor, added up; the factors are `apart` from each other, 0: there is one for all."""
    (x, origin, row), (factors, at, apart), (out, place) = matrix, scales, result
    lanes, zero = lane_count(x), x.dtype.type(0.0)
    whole, fours = size // lanes * lanes, rows // 4 * 4
    for j in range(0, whole, lanes):
        here, factor = origin + j, at
        s0, s1, s2, s3 = splat(zero), splat(zero), splat(zero), splat(zero)
        for _ in range(0, fours, 4):
            s0 = s0 + splat(factors[factor]) * load(x, here)
            s1 = s1 + splat(factors[factor + apart]) * load(x, here + row)
            s2 = s2 + splat(factors[factor + 2 * apart]) * load(x, here + 2 * row)
            s3 = s3 + splat(factors[factor + 3 * apart]) * load(x, here + 3 * row)
            here, factor = here + 4 * row, factor + 4 * apart
        for b in range(rows - fours):
            s0 = s0 + splat(factors[factor + b * apart]) * load(x, here + b * row)
        store(out, place + j, (s0 + s1) + (s2 + s3))
    for i in range(whole, size):
        total = zero
        for b in range(rows):
            total += factors[at + b * apart] * x[origin + b * row + i]
        out[place + i] = total
