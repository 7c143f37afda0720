"""Dense layers of N stacked networks, forward and backward, in kernels whose rows stay in registers and first-level cache.

    y_n = f(x_n W_n + b_n)      dx_n = dy_n W_nᵀ f'(x_n)      dW_n = x_nᵀ dy_n, db_n = Σ dy_n

where f is nothing, ReLU or tanh. Batches of a few hundred rows through layers of 64 to 256 units are too small for a call
of a linear-algebra library per network, and between two calls bias, activation and its slope would each pass over memory
again. Here the right factor of a product is packed into rows of whole vectors, blocks of four rows by four vectors are
summed in registers, and the rest is done to a block while it is in the cache. Each network's numbers are added up in the
same order wherever it stands in the stack.

Letters: N networks, B rows, I inputs, J outputs; P is J rounded up to whole vectors. Inputs may be some columns of a wider
array (`width` numbers a row, from `column` on), and serve `copies` neighbouring networks each.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from icrl_plugins.kernels.jit import compiled
from icrl_plugins.kernels.vectors import JIT, lane_count, lane_sum, load, sigmoid, splat, store

#: What is applied to a layer's outputs; the slopes of both follow from what came out.
NOTHING, RELU, TANH = 0, 1, 2

DEPTH = 64  # summands of a product between two additions to its result: 64 rows of 64 numbers fit the first-level cache


@njit(**JIT)  # type: ignore[untyped-decorator]
def _four_by_four(a, origin, row, step, panel, first, depth, j, block):  # type: ignore[no-untyped-def]
    """Adds rows 0..3 and vectors j.. of a·panel to `block`; a's entry (r, p) is a[origin + r·row + p·step]."""
    wide, lanes = panel.shape[1], lane_count(panel)
    zero = splat(panel.dtype.type(0.0))
    c00, c01, c02, c03 = zero, zero, zero, zero
    c10, c11, c12, c13 = zero, zero, zero, zero
    c20, c21, c22, c23 = zero, zero, zero, zero
    c30, c31, c32, c33 = zero, zero, zero, zero
    for p in range(depth):
        at = (first + p) * wide + j
        b0, b1 = load(panel, at), load(panel, at + lanes)
        b2, b3 = load(panel, at + 2 * lanes), load(panel, at + 3 * lanes)
        place = origin + p * step
        x = splat(a[place])
        c00, c01, c02, c03 = c00 + x * b0, c01 + x * b1, c02 + x * b2, c03 + x * b3
        x = splat(a[place + row])
        c10, c11, c12, c13 = c10 + x * b0, c11 + x * b1, c12 + x * b2, c13 + x * b3
        x = splat(a[place + 2 * row])
        c20, c21, c22, c23 = c20 + x * b0, c21 + x * b1, c22 + x * b2, c23 + x * b3
        x = splat(a[place + 3 * row])
        c30, c31, c32, c33 = c30 + x * b0, c31 + x * b1, c32 + x * b2, c33 + x * b3
    _add(block, j, c00, c01, c02, c03)
    _add(block, wide + j, c10, c11, c12, c13)
    _add(block, 2 * wide + j, c20, c21, c22, c23)
    _add(block, 3 * wide + j, c30, c31, c32, c33)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _add(block, at, first, second, third, fourth):  # type: ignore[no-untyped-def]
    lanes = lane_count(block)
    store(block, at, load(block, at) + first)
    store(block, at + lanes, load(block, at + lanes) + second)
    store(block, at + 2 * lanes, load(block, at + 2 * lanes) + third)
    store(block, at + 3 * lanes, load(block, at + 3 * lanes) + fourth)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _four_by_one(a, origin, row, step, panel, first, depth, j, block):  # type: ignore[no-untyped-def]
    """`_four_by_four` for one vector of columns."""
    wide = panel.shape[1]
    zero = splat(panel.dtype.type(0.0))
    c0, c1, c2, c3 = zero, zero, zero, zero
    for p in range(depth):
        b = load(panel, (first + p) * wide + j)
        place = origin + p * step
        c0 = c0 + splat(a[place]) * b
        c1 = c1 + splat(a[place + row]) * b
        c2 = c2 + splat(a[place + 2 * row]) * b
        c3 = c3 + splat(a[place + 3 * row]) * b
    store(block, j, load(block, j) + c0)
    store(block, wide + j, load(block, wide + j) + c1)
    store(block, 2 * wide + j, load(block, 2 * wide + j) + c2)
    store(block, 3 * wide + j, load(block, 3 * wide + j) + c3)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _one_row(a, origin, step, panel, first, depth, j, block, r):  # type: ignore[no-untyped-def]
    """One vector of row r."""
    wide = panel.shape[1]
    total = load(block, r * wide + j)
    for p in range(depth):
        total = total + splat(a[origin + p * step]) * load(panel, (first + p) * wide + j)
    store(block, r * wide + j, total)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _block_of_rows(a, origin, row, step, count, panel, depth, block):  # type: ignore[no-untyped-def]
    """block = the `count` ≤ 4 rows of a, from `origin`, times panel (depth, P)."""
    wide, lanes = panel.shape[1], lane_count(panel)
    block[:] = 0
    for first in range(0, depth, DEPTH):
        part = min(DEPTH, depth - first)
        start = origin + first * step
        j = 0
        if count == 4:
            while j + 4 * lanes <= wide:
                _four_by_four(a, start, row, step, panel, first, part, j, block)
                j += 4 * lanes
            while j < wide:
                _four_by_one(a, start, row, step, panel, first, part, j, block)
                j += lanes
        else:
            for r in range(count):
                for j in range(0, wide, lanes):
                    _one_row(a, start + r * row, step, panel, first, part, j, block, r)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _padded(columns, array):  # type: ignore[no-untyped-def]
    lanes = lane_count(array)
    return (columns + lanes - 1) // lanes * lanes


@njit(**JIT)  # type: ignore[untyped-decorator]
def _transpose(weight, column, columns, panel):  # type: ignore[no-untyped-def]
    """panel[j, c] = weight[column + c, j], tile by tile, so that neither side jumps through memory."""
    outputs = weight.shape[1]
    for c0 in range(0, columns, 16):
        for j0 in range(0, outputs, 16):
            for c in range(c0, min(c0 + 16, columns)):
                for j in range(j0, min(j0 + 16, outputs)):
                    panel[j, c] = weight[column + c, j]


@njit(**JIT)  # type: ignore[untyped-decorator]
def _tanh(block):  # type: ignore[no-untyped-def]
    """In place, by way of the logistic function: to 2e-7 in float32."""
    two, one = splat(block.dtype.type(2.0)), splat(block.dtype.type(1.0))
    for r in range(block.shape[0]):
        for j in range(0, block.shape[1], lane_count(block)):
            at = r * block.shape[1] + j
            store(block, at, two * sigmoid(two * load(block, at)) - one)


@compiled
def forward(x, width, column, copies, weight, bias, activation, out):  # type: ignore[no-untyped-def]
    """x flat, weight (N, I, J), bias (N, 1, J) → out (N, B, J)."""
    networks, rows, outputs = out.shape
    inputs = weight.shape[1]
    wide = _padded(outputs, out)
    panel = np.zeros((inputs, wide), out.dtype)
    block = np.empty((4, wide), out.dtype)
    zero = out.dtype.type(0.0)
    for n in range(networks):
        origin = n // copies * rows * width + column
        offset = bias[n, 0]
        for i in range(inputs):
            for j in range(outputs):
                panel[i, j] = weight[n, i, j]
        for first in range(0, rows, 4):
            count = min(4, rows - first)
            _block_of_rows(x, origin + first * width, width, 1, count, panel, inputs, block)
            if activation == TANH:
                for r in range(count):
                    added = block[r]
                    for j in range(outputs):
                        added[j] += offset[j]
                _tanh(block)
            for r in range(count):
                to, added = out[n, first + r], block[r]
                if activation == RELU:
                    for j in range(outputs):
                        to[j] = max(added[j] + offset[j], zero)
                elif activation == TANH:
                    for j in range(outputs):
                        to[j] = added[j]
                else:
                    for j in range(outputs):
                        to[j] = added[j] + offset[j]


@compiled
def backward_inputs(gradients, weight, column, activation, active, out):  # type: ignore[no-untyped-def]
    """gradients (N, B, J) flat, weight (N, I, J) → out (N, B, C): those of the C inputs from `column` on.

    `active` (N, B, C): the inputs, if they came out of an activation. Else it is not read.
    """
    networks, rows, columns = out.shape
    outputs = weight.shape[2]
    wide = _padded(columns, out)
    panel = np.zeros((outputs, wide), out.dtype)
    block = np.empty((4, wide), out.dtype)
    zero, one = out.dtype.type(0.0), out.dtype.type(1.0)
    for n in range(networks):
        _transpose(weight[n], column, columns, panel)
        for first in range(0, rows, 4):
            count = min(4, rows - first)
            origin = (n * rows + first) * outputs
            _block_of_rows(gradients, origin, outputs, 1, count, panel, outputs, block)
            for r in range(count):
                to, added = out[n, first + r], block[r]
                if activation == NOTHING:
                    for c in range(columns):
                        to[c] = added[c]
                elif activation == RELU:
                    held = active[n, first + r]
                    for c in range(columns):
                        to[c] = added[c] if held[c] > zero else zero
                else:
                    held = active[n, first + r]
                    for c in range(columns):
                        to[c] = added[c] * (one - held[c] * held[c])


@compiled
def backward_parameters(x, width, column, copies, gradients, by_weight, by_bias):  # type: ignore[no-untyped-def]
    """x flat, gradients (N, B, J) → by_weight (N, I, J) and by_bias (N, 1, J)."""
    networks, inputs, outputs = by_weight.shape
    rows = gradients.shape[1]
    wide = _padded(outputs, gradients)
    panel = np.zeros((rows, wide), gradients.dtype)
    block = np.empty((4, wide), gradients.dtype)
    for n in range(networks):
        origin = n // copies * rows * width + column
        total = by_bias[n, 0]
        total[:] = 0
        for b in range(rows):
            to, held = panel[b], gradients[n, b]
            for j in range(outputs):
                to[j] = held[j]
                total[j] += held[j]
        for first in range(0, inputs, 4):
            count = min(4, inputs - first)
            _block_of_rows(x, origin + first, 1, width, count, panel, rows, block)
            for r in range(count):
                result, added = by_weight[n, first + r], block[r]
                for j in range(outputs):
                    result[j] = added[j]


@compiled
def sum_over_rows(values, out):  # type: ignore[no-untyped-def]
    """values (N, B, J) → out (N, 1, J), row after row."""
    networks, rows, columns = values.shape
    for n in range(networks):
        total = out[n, 0]
        total[:] = 0
        for b in range(rows):
            for j in range(columns):
                total[j] += values[n, b, j]


@compiled
def forward_single(x, weight, bias, out):  # type: ignore[no-untyped-def]
    """`forward` for J = 1: x (N, B, I) flat, weight (N, I), bias (N) → out (N, B)."""
    networks, rows = out.shape
    inputs, lanes = weight.shape[1], lane_count(weight)
    whole = inputs // lanes * lanes
    for n in range(networks):
        for b in range(rows):
            at = (n * rows + b) * inputs
            sums = splat(weight.dtype.type(0.0))
            for i in range(0, whole, lanes):
                sums = sums + load(x, at + i) * load(weight, n * inputs + i)
            total = lane_sum(sums) + bias[n]
            for i in range(whole, inputs):
                total += x[at + i] * weight[n, i]
            out[n, b] = total


@compiled
def backward_inputs_single(gradients, weight, activation, active, out):  # type: ignore[no-untyped-def]
    """`backward_inputs` for J = 1 and all inputs, which came out of an activation: gradients (N, B), weight (N, I)."""
    networks, rows, inputs = out.shape
    zero, one = out.dtype.type(0.0), out.dtype.type(1.0)
    for n in range(networks):
        factors = weight[n]
        for b in range(rows):
            gradient = gradients[n, b]
            to = out[n, b]
            held = active[n, b]
            if activation == RELU:
                for i in range(inputs):
                    product = gradient * factors[i]
                    to[i] = product if held[i] > zero else zero
            else:
                for i in range(inputs):
                    to[i] = gradient * factors[i] * (one - held[i] * held[i])


@compiled
def backward_parameters_single(x, gradients, by_weight, by_bias):  # type: ignore[no-untyped-def]
    """`backward_parameters` for J = 1: x (N, B, I), gradients (N, B) → by_weight (N, I), by_bias (N)."""
    networks, inputs = by_weight.shape
    rows = gradients.shape[1]
    for n in range(networks):
        totals = by_weight[n]
        totals[:] = 0
        total = by_weight.dtype.type(0.0)
        for b in range(rows):
            gradient, held = gradients[n, b], x[n, b]
            total += gradient
            for i in range(inputs):
                totals[i] += gradient * held[i]
        by_bias[n] = total


@njit(**JIT)  # type: ignore[untyped-decorator]
def _centre(values, centred, at, size, share):  # type: ignore[no-untyped-def]
    """Writes the row of `size` numbers from `at` on, less its mean; gives its sum of squares. The arrays are flat."""
    lanes, zero = lane_count(values), values.dtype.type(0.0)
    end = at + size
    whole = at + size // lanes * lanes
    sums = splat(zero)
    for place in range(at, whole, lanes):
        sums = sums + load(values, place)
    total = lane_sum(sums)
    for place in range(whole, end):
        total += values[place]
    mean = total * share
    sums = splat(zero)
    for place in range(at, whole, lanes):
        apart = load(values, place) - splat(mean)
        store(centred, place, apart)
        sums = sums + apart * apart
    squares = lane_sum(sums)
    for place in range(whole, end):
        rest = values[place] - mean
        centred[place] = rest
        squares += rest * rest
    return squares


@njit(**JIT)  # type: ignore[untyped-decorator]
def _drop(values, dropped, kept_scale):  # type: ignore[no-untyped-def]
    """0 where dropped, times `kept_scale` elsewhere, in place; nothing if `dropped` is empty."""
    zero, scale = values.dtype.type(0.0), values.dtype.type(kept_scale)
    for n in range(dropped.shape[0]):
        for b in range(dropped.shape[1]):
            row, lost = values[n, b], dropped[n, b]
            for j in range(dropped.shape[2]):
                row[j] = zero if lost[j] else row[j] * scale


@njit(**JIT)  # type: ignore[untyped-decorator]
def _scale(units, deviations, factors, offsets, out):  # type: ignore[no-untyped-def]
    """units (B, J) times their rows' inverse deviations, in place; out = ReLU of them times factors plus offsets."""
    zero = out.dtype.type(0.0)
    for b in range(out.shape[0]):
        row, to, inverse = units[b], out[b], deviations[b]
        for j in range(out.shape[1]):
            unit = row[j] * inverse
            row[j] = unit
            to[j] = max(unit * factors[j] + offsets[j], zero)


@compiled
def normalise(values, dropped, kept_scale, weight, bias, epsilon, normalised, deviations):  # type: ignore[no-untyped-def]
    """Dropout, layer normalisation and ReLU of values (N, B, J), in place.

    `dropped` (N, B, J) booleans, or (0, 0, 0); weight, bias (N, 1, J). For the backward pass it writes what was
    normalised, before weight and bias, (N, B, J), and one over the standard deviations, (N, B).
    """
    networks, rows, size = values.shape
    one = values.dtype.type(1.0)
    least = values.dtype.type(epsilon)
    share = one / values.dtype.type(size)
    _drop(values, dropped, kept_scale)
    flat_values, flat_normalised = values.reshape(-1), normalised.reshape(-1)
    for n in range(networks):
        for b in range(rows):
            squares = _centre(flat_values, flat_normalised, (n * rows + b) * size, size, share)
            deviations[n, b] = one / np.sqrt(squares * share + least)
        _scale(normalised[n], deviations[n], weight[n, 0], bias[n, 0], values[n])


@compiled
def backward_normalise(  # type: ignore[no-untyped-def]
    gradients, dropped, kept_scale, weight, normalised, deviations, by_weight, by_bias
):
    """The way back through `normalise`, from behind the ReLU: gradients (N, B, J), in place; by_weight, by_bias (N, 1, J)."""
    networks, rows, size = gradients.shape
    zero, one = gradients.dtype.type(0.0), gradients.dtype.type(1.0)
    share = one / gradients.dtype.type(size)
    for n in range(networks):
        factors, weights, biases = weight[n, 0], by_weight[n, 0], by_bias[n, 0]
        weights[:] = 0
        biases[:] = 0
        for b in range(rows):
            row, held, inverse = gradients[n, b], normalised[n, b], deviations[n, b]
            total, product = zero, zero
            for j in range(size):
                weights[j] += row[j] * held[j]
                biases[j] += row[j]
                row[j] *= factors[j]
                total += row[j]
                product += row[j] * held[j]
            total, product = total * share, product * share
            for j in range(size):
                row[j] = (row[j] - total - held[j] * product) * inverse
    _drop(gradients, dropped, kept_scale)
