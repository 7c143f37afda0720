"""Dropout, layer normalisation (Ba et al., 2016) and ReLU of one network's rows, and the way back.

All arrays are flat but the masks; a network's rows of `size` numbers lie one after the other from `at` on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from icrl_plugins.kernels.runtime.vectors import INLINED, JIT, lane_count, lane_sum, load, relu, splat, store
from icrl_registry.contracts import Array


class Rows(NamedTuple):
    """`num_rows` rows of `size` numbers in a flat array, from `at` on."""

    values: Array
    at: int
    num_rows: int
    size: int


class Affine(NamedTuple):
    """Weights and biases, or their gradients: flat arrays, one network's from `at` on."""

    weight: Array
    bias: Array
    at: int


class Kept(NamedTuple):
    """For the way back: what was normalised, from `at` on, and one over the rows' standard deviations, from `row` on."""

    normalised: Array
    at: int
    deviations: Array
    row: int


@njit(**JIT)
def drop(values, at, dropped, kept_scale):
    """0 where `dropped` (rows, size), times `kept_scale` elsewhere, in place."""
    rows, size = dropped.shape
    zero, scale = values.dtype.type(0.0), values.dtype.type(kept_scale)
    for b in range(rows):
        row, lost = values[at + b * size : at + (b + 1) * size], dropped[b]
        for j in range(size):
            row[j] = zero if lost[j] else row[j] * scale


@njit(**JIT)
def rectify(values, at, count):
    """ReLU of `count` numbers, in place."""
    lanes, zero = lane_count(values), values.dtype.type(0.0)
    whole = count // lanes * lanes
    for place in range(at, at + whole, lanes):
        store(values, place, relu(load(values, place)))
    for place in range(at + whole, at + count):
        values[place] = zero if values[place] < zero else values[place]


@njit(**INLINED)
def _centre(values, centred, at, to, size, share):
    """Writes the row of `size` numbers from `at` on, less its mean; gives its sum of squares."""
    lanes, zero = lane_count(values), values.dtype.type(0.0)
    whole = size // lanes * lanes
    sums = splat(zero)
    for j in range(0, whole, lanes):
        sums = sums + load(values, at + j)
    total = lane_sum(sums)
    for j in range(whole, size):
        total += values[at + j]
    mean = total * share
    sums = splat(zero)
    for j in range(0, whole, lanes):
        apart = load(values, at + j) - splat(mean)
        store(centred, to + j, apart)
        sums = sums + apart * apart
    squares = lane_sum(sums)
    for j in range(whole, size):
        rest = values[at + j] - mean
        centred[to + j] = rest
        squares += rest * rest
    return squares


@njit(**JIT)
def normalise(given, affine, epsilon, kept):
    """Layer normalisation and ReLU of the given rows, in place; fills `kept`, before weight and bias."""
    (values, at, rows, size), (weight, bias, place) = given, affine
    normalised, to, deviations, row = kept
    lanes, zero, one = lane_count(values), values.dtype.type(0.0), values.dtype.type(1.0)
    least, share = values.dtype.type(epsilon), one / values.dtype.type(size)
    whole = size // lanes * lanes
    for b in range(rows):
        here, there = at + b * size, to + b * size
        squares = _centre(values, normalised, here, there, size, share)
        inverse = one / np.sqrt(squares * share + least)
        deviations[row + b] = inverse
        for j in range(0, whole, lanes):
            unit = load(normalised, there + j) * splat(inverse)
            store(normalised, there + j, unit)
            store(values, here + j, relu(unit * load(weight, place + j) + load(bias, place + j)))
        for j in range(whole, size):
            unit = normalised[there + j] * inverse
            normalised[there + j] = unit
            found = unit * weight[place + j] + bias[place + j]
            values[here + j] = zero if found < zero else found


@njit(**JIT)
def normalise_backwards(given, weight, kept, by_affine):
    """From behind the normalisation (the ReLU's derivative is applied) to before it, in place; fills `by_affine`."""
    (gradients, at, rows, size), (by_weight, by_bias, place) = given, by_affine
    normalised, to, deviations, row = kept
    lanes, zero, one = lane_count(gradients), gradients.dtype.type(0.0), gradients.dtype.type(1.0)
    share = one / gradients.dtype.type(size)
    whole = size // lanes * lanes
    by_weight[place : place + size] = zero
    by_bias[place : place + size] = zero
    for b in range(rows):
        here, there, inverse = at + b * size, to + b * size, deviations[row + b]
        totals, products = splat(zero), splat(zero)
        for j in range(0, whole, lanes):
            gradient, held = load(gradients, here + j), load(normalised, there + j)
            store(by_weight, place + j, load(by_weight, place + j) + gradient * held)
            store(by_bias, place + j, load(by_bias, place + j) + gradient)
            gradient = gradient * load(weight, place + j)
            store(gradients, here + j, gradient)
            totals = totals + gradient
            products = products + gradient * held
        total, product = lane_sum(totals), lane_sum(products)
        for j in range(whole, size):
            gradient, held = gradients[here + j], normalised[there + j]
            by_weight[place + j] += gradient * held
            by_bias[place + j] += gradient
            gradient *= weight[place + j]
            gradients[here + j] = gradient
            total += gradient
            product += gradient * held
        total, product = total * share, product * share
        for j in range(0, whole, lanes):
            apart = load(gradients, here + j) - splat(total) - load(normalised, there + j) * splat(product)
            store(gradients, here + j, apart * splat(inverse))
        for j in range(whole, size):
            apart = gradients[here + j] - total - normalised[there + j] * product
            gradients[here + j] = apart * inverse
