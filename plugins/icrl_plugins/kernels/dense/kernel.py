"""Forward and backward passes of N stacked networks of dense layers: one call a pass, one network after the other.

    y_n = f(x_n W_n + b_n)      dx_n = dy_n W_nᵀ f'(x_n)      dW_n = x_nᵀ dy_n, db_n = Σ dy_n

where f is nothing, ReLU or tanh, or dropout, layer normalisation and ReLU. Layer by layer the activations of all networks
would go through the third-level cache; network by network they stay in the second. Each network's numbers are added up in
the same order wherever it stands in the stack.

Letters: N networks, B rows, I inputs, J outputs. The arguments that the passes share:

- inputs: (numbers, width, column, copies). The first layer's inputs are some columns of a flat array of `width` numbers a
  row, from `column` on, and serve `copies` neighbouring networks each.
- layers: (weights (N, I, J), biases (N, 1, J), and the layer normalisations' weights and biases (N, 1, J)), each a tuple
  with an array a layer; (0, 0, 0) where there is no normalisation.
- kinds: (activations, the scales of what dropout keeps, the normalisations' epsilons), each (L).
- masks: what is dropped, a tuple of (N, B, J) booleans, (0, 0, 0) where nothing is.
- passed: (outputs (N, B, J), normalised (N, B, J), one over their deviations (N, B)), tuples too. An array with room for
  one network alone (a leading 1) is written over by each: enough where there is no way back.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from icrl_plugins.kernels.dense.normalisation import drop, normalise, normalise_backwards, rectify
from icrl_plugins.kernels.dense.product import (
    BIASED,
    BIASED_RELU,
    BIASED_TANH,
    RAW,
    RELU_SLOPE,
    TANH_SLOPE,
    new_padding,
    product,
)
from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.vectors import JIT, lane_count, lane_sum, load, splat, store

#: What is applied to a layer's outputs; the slopes of both follow from what came out.
NOTHING, RELU, TANH = 0, 1, 2


@compiled
def forward(inputs, layers, kinds, masks, passed):  # type: ignore[no-untyped-def]
    """Fills `passed`; the networks' outputs are the last layer's."""
    x, width, column, copies = inputs
    weights, biases, norm_weights, norm_biases = layers
    activations, kept_scales, epsilons = kinds
    outputs, normalised, deviations = passed
    networks, rows, _ = outputs[-1].shape
    padding = new_padding(_tallest(weights, rows), x)
    for n in range(networks):
        a, origin, row = x, n // copies * rows * width + column, width
        for k in range(len(weights)):
            _, size_in, size = weights[k].shape
            out, at = outputs[k].reshape(-1), n % len(outputs[k]) * rows * size
            weight, bias, place = weights[k].reshape(-1), biases[k].reshape(-1), n * size
            drops, norms = masks[k].size > 0, norm_weights[k].size > 0
            finish = BIASED
            if not (drops or norms) and activations[k] != NOTHING:
                finish = BIASED_RELU if activations[k] == RELU else BIASED_TANH
            if size == 1 and finish == BIASED:
                _dot_rows(a, origin, row, rows, weight, n * size_in, size_in, bias[n], out, at)
            else:
                product(
                    (a, origin, row, 1), (weight, place * size_in, size), finish, (bias, place, 0), (out, at),
                    rows, size_in, size, padding,
                )  # fmt: skip
            if drops:
                drop(out, at, masks[k][n], kept_scales[k])
            if norms:
                held, inverses = normalised[k].reshape(-1), deviations[k].reshape(-1)
                slot = n % len(normalised[k]) * rows
                normalise(
                    out, at, rows, size, norm_weights[k].reshape(-1), norm_biases[k].reshape(-1), place, epsilons[k],
                    held, slot * size, inverses, slot,
                )  # fmt: skip
            elif drops:
                rectify(out, at, rows * size)
            a, origin, row = out, at, size


@compiled
def backward(  # type: ignore[no-untyped-def]
    inputs, layers, kinds, masks, passed, gradients, with_parameters, by_layers, first_input, by_inputs
):
    """From the gradients of the outputs (N, B, J) to those of the parameters and of some inputs.

    Parameters' gradients go to `by_layers`, built as `layers`, if they are wanted; else only its arrays for normalisation
    are written, and mean nothing. `by_inputs` (N, B, C) gets those of the C inputs from `first_input` on; it may be empty.
    """
    x, width, column, copies = inputs
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
                normalise_backwards(
                    gradient, at, rows, size, norm_weights[k].reshape(-1), n * size, normalised[k].reshape(-1),
                    n * rows * size, deviations[k].reshape(-1), n * rows,
                    by_norm_weights[k].reshape(-1), by_norm_biases[k].reshape(-1),
                )  # fmt: skip
            if masks[k].size > 0:
                drop(gradient, at, masks[k][n], kept_scales[k])
            if with_parameters:
                left = (x, n // copies * rows * width + column, 1, width)
                if k > 0:
                    left = (outputs[k - 1].reshape(-1), n * rows * size_in, 1, size_in)
                _parameter_gradients(left, gradient, at, rows, by_weights[k], by_biases[k], n, padding)
            weight, place = weights[k].reshape(-1), n * size_in * size
            if k > 0:
                if size > 1:
                    _transpose(weight, place, size_in, size, panel)
                    weight, place = panel, 0
                finish = RELU_SLOPE if activations[k - 1] == RELU else TANH_SLOPE
                before, to = (outputs[k - 1].reshape(-1), n * rows * size_in, size_in), spares[k % 2]
                product(
                    (gradient, at, size, 1), (weight, place, size_in), finish, before, (to, 0),
                    rows, size, size_in, padding,
                )  # fmt: skip
                gradient, at = to, 0
            elif by_inputs.size > 0:
                columns = by_inputs.shape[2]
                _transpose(weight, place + first_input * size, columns, size, panel)
                chosen = (panel, 0, columns)
                product(
                    (gradient, at, size, 1), chosen, RAW, chosen, (by_inputs.reshape(-1), n * rows * columns),
                    rows, size, columns, padding,
                )  # fmt: skip


@njit(**JIT)  # type: ignore[untyped-decorator]
def _parameter_gradients(left, gradient, at, rows, by_weights, by_biases, n, padding):  # type: ignore[no-untyped-def]
    """Of a layer of network n; `left` is its inputs transposed, the gradients of its outputs begin at `at`."""
    (a, origin, _, row), one = left, np.ones(1, gradient.dtype)
    _, size_in, size = by_weights.shape
    by_weight, place = by_weights.reshape(-1), n * size_in * size
    _sum_rows(gradient, at, size, rows, size, one, 0, 0, by_biases.reshape(-1), n * size)
    if size == 1:
        _sum_rows(a, origin, row, rows, size_in, gradient, at, 1, by_weight, place)
    else:
        right = (gradient, at, size)
        product(left, right, RAW, right, (by_weight, place), size_in, rows, size, padding)


@compiled
def sum_over_rows(values, out):  # type: ignore[no-untyped-def]
    """values (N, B, J) → out (N, 1, J)."""
    networks, rows, size = values.shape
    flat, one = values.reshape(-1), np.ones(1, values.dtype)
    for n in range(networks):
        _sum_rows(flat, n * rows * size, size, rows, size, one, 0, 0, out.reshape(-1), n * size)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _tallest(weights, rows):  # type: ignore[no-untyped-def]
    """The largest number of rows, inputs or outputs."""
    tallest = rows
    for weight in weights:
        tallest = max(tallest, weight.shape[1], weight.shape[2])
    return tallest


@njit(**JIT)  # type: ignore[untyped-decorator]
def _largest(weights):  # type: ignore[no-untyped-def]
    """The numbers in the largest of one network's matrices."""
    largest = 0
    for weight in weights:
        largest = max(largest, weight.shape[1] * weight.shape[2])
    return largest


@njit(**JIT)  # type: ignore[untyped-decorator]
def _aligned(size, like):  # type: ignore[no-untyped-def]
    """Room for `size` numbers that begins where a cache line does."""
    lanes = lane_count(like)
    room = np.empty(size + lanes, like.dtype)
    skipped = (-room.ctypes.data) % 64 // room.itemsize
    return room[skipped : skipped + size]


@njit(**JIT)  # type: ignore[untyped-decorator]
def _transpose(matrix, at, rows, columns, panel):  # type: ignore[no-untyped-def]
    """panel[c, r] = matrix[r, c], tile by tile, so that neither side jumps through memory."""
    for r0 in range(0, rows, 16):
        for c0 in range(0, columns, 16):
            for r in range(r0, min(r0 + 16, rows)):
                for c in range(c0, min(c0 + 16, columns)):
                    panel[c * rows + r] = matrix[at + r * columns + c]


@njit(**JIT)  # type: ignore[untyped-decorator]
def _dot_rows(x, origin, row, rows, weight, place, size, bias, out, at):  # type: ignore[no-untyped-def]
    """A layer with one output: each row of x times the weights, plus the bias."""
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


@njit(**JIT)  # type: ignore[untyped-decorator]
def _sum_rows(x, origin, row, rows, size, factors, at, apart, out, place):  # type: ignore[no-untyped-def]
    """Rows of x, each times its factor, added up; the factors are `apart` from each other, 0: there is one for all."""
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
