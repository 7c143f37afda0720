"""Dropout, layer normalisation (Ba et al., 2016) and ReLU of one network's rows, forward and backward.

All arrays are flat but the masks; a network's rows of `size` numbers lie one after the other from `offset` on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from icrl_plugins.kernels.runtime.vectors import INLINED, JIT, lane_count, lane_sum, load, relu, splat, store
from icrl_registry.contracts import Array


class RowBlock(NamedTuple):
    """`num_rows` rows of `size` numbers in a flat array, from `offset` on."""

    values: Array
    offset: int
    num_rows: int
    size: int


class Affine(NamedTuple):
    """Weights and biases, or their gradients: flat arrays, one network's from `offset` on."""

    weight: Array
    bias: Array
    offset: int


class SavedRows(NamedTuple):
    """For the backward pass: normalised numbers, from `offset` on, and one over the rows' deviations, from `row` on."""

    normalised: Array
    offset: int
    deviations: Array
    row: int


@njit(**JIT)
def drop(values, offset, dropped, dropout_scale) -> None:
    """0 where `dropped` (rows, size), times `dropout_scale` elsewhere, in place."""
    rows, size = dropped.shape
    zero, scale = values.dtype.type(0.0), values.dtype.type(dropout_scale)
    for b in range(rows):
        row, dropped_row = values[offset + b * size : offset + (b + 1) * size], dropped[b]
        for j in range(size):
            row[j] = zero if dropped_row[j] else row[j] * scale


@njit(**JIT)
def relu_in_place(values, offset, count) -> None:
    """ReLU of `count` numbers, in place."""
    lanes, zero = lane_count(values), values.dtype.type(0.0)
    whole = count // lanes * lanes
    for index in range(offset, offset + whole, lanes):
        store(values, index, relu(load(values, index)))
    for index in range(offset + whole, offset + count):
        values[index] = zero if values[index] < zero else values[index]


@njit(**INLINED)
def _centre(values, centred, offset, saved_offset, size, share):
    """Writes the row of `size` numbers from `offset` on, less its mean; gives its sum of squares."""
    lanes, zero = lane_count(values), values.dtype.type(0.0)
    whole = size // lanes * lanes
    sums = splat(zero)
    for j in range(0, whole, lanes):
        sums = sums + load(values, offset + j)
    total = lane_sum(sums)
    for j in range(whole, size):
        total += values[offset + j]
    mean = total * share
    sums = splat(zero)
    for j in range(0, whole, lanes):
        difference = load(values, offset + j) - splat(mean)
        store(centred, saved_offset + j, difference)
        sums = sums + difference * difference
    squares = lane_sum(sums)
    for j in range(whole, size):
        rest = values[offset + j] - mean
        centred[saved_offset + j] = rest
        squares += rest * rest
    return squares


@njit(**JIT)
def normalise(row_block, affine, epsilon, saved) -> None:
    """Layer normalisation and ReLU of the given rows, in place; fills `saved`, before weight and bias."""
    (values, offset, rows, size), (weight, bias, affine_offset) = row_block, affine
    normalised, saved_offset, deviations, row = saved
    lanes, zero, one = lane_count(values), values.dtype.type(0.0), values.dtype.type(1.0)
    least, share = values.dtype.type(epsilon), one / values.dtype.type(size)
    whole = size // lanes * lanes
    for b in range(rows):
        row_offset, saved_row_offset = offset + b * size, saved_offset + b * size
        squares = _centre(values, normalised, row_offset, saved_row_offset, size, share)
        inverse = one / np.sqrt(squares * share + least)
        deviations[row + b] = inverse
        for j in range(0, whole, lanes):
            unit = load(normalised, saved_row_offset + j) * splat(inverse)
            store(normalised, saved_row_offset + j, unit)
            store(values, row_offset + j, relu(unit * load(weight, affine_offset + j) + load(bias, affine_offset + j)))
        for j in range(whole, size):
            unit = normalised[saved_row_offset + j] * inverse
            normalised[saved_row_offset + j] = unit
            activated = unit * weight[affine_offset + j] + bias[affine_offset + j]
            values[row_offset + j] = zero if activated < zero else activated


@njit(**JIT)
def normalise_backwards(row_block, weight, saved, grad_affine) -> None:
    """From behind the normalisation (the ReLU's derivative is applied) to before it, in place; fills `grad_affine`."""
    (gradients, offset, rows, size), (grad_weight, grad_bias, affine_offset) = row_block, grad_affine
    normalised, saved_offset, deviations, row = saved
    lanes, zero, one = lane_count(gradients), gradients.dtype.type(0.0), gradients.dtype.type(1.0)
    share = one / gradients.dtype.type(size)
    whole = size // lanes * lanes
    grad_weight[affine_offset : affine_offset + size] = zero
    grad_bias[affine_offset : affine_offset + size] = zero
    for b in range(rows):
        row_offset, saved_row_offset, inverse = offset + b * size, saved_offset + b * size, deviations[row + b]
        totals, products = splat(zero), splat(zero)
        for j in range(0, whole, lanes):
            gradient, unit = load(gradients, row_offset + j), load(normalised, saved_row_offset + j)
            store(grad_weight, affine_offset + j, load(grad_weight, affine_offset + j) + gradient * unit)
            store(grad_bias, affine_offset + j, load(grad_bias, affine_offset + j) + gradient)
            gradient = gradient * load(weight, affine_offset + j)
            store(gradients, row_offset + j, gradient)
            totals = totals + gradient
            products = products + gradient * unit
        total, product = lane_sum(totals), lane_sum(products)
        for j in range(whole, size):
            gradient, unit = gradients[row_offset + j], normalised[saved_row_offset + j]
            grad_weight[affine_offset + j] += gradient * unit
            grad_bias[affine_offset + j] += gradient
            gradient *= weight[affine_offset + j]
            gradients[row_offset + j] = gradient
            total += gradient
            product += gradient * unit
        total, product = total * share, product * share
        for j in range(0, whole, lanes):
            difference = (
                load(gradients, row_offset + j) - splat(total) - load(normalised, saved_row_offset + j) * splat(product)
            )
            store(gradients, row_offset + j, difference * splat(inverse))
        for j in range(whole, size):
            difference = gradients[row_offset + j] - total - normalised[saved_row_offset + j] * product
            gradients[row_offset + j] = difference * inverse
