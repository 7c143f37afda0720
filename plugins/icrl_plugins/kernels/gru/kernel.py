"""The last state of a GRU over windows, and its gradient, for K networks: rows of the batch stay in the caches all along.

Fifteen steps of a batch of 128 with 40 units are ten small operations each; called one by one they cost several times what
they compute. A task here takes `ROWS` rows of one network through all steps. Units are padded to whole vectors: what is
added has weights and biases of zero, and its state stays zero.

Letters: K networks, T steps, B rows, F inputs, S units, P units padded. Gates come in PyTorch's order: r, z, n.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from icrl_plugins.kernels.dense.product import BIASED, RAW, new_padding, product
from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.partial_sums import add_up, num_sums
from icrl_plugins.kernels.runtime.tasks import tasks
from icrl_plugins.kernels.runtime.vectors import JIT, LANES, lane_count, load, sigmoid, splat, store
from icrl_registry.contracts import Array

ROWS = 32  # rows of a task
#: What a step leaves for the backward pass, P numbers each: the state before it, r, z, n, and U h + b' of the candidate.
SAVED = 5


class GRUArrays(NamedTuple):
    """Weights (K, F, 3 S) and (K, S, 3 S) of inputs and states, then biases (K, 1, 3 S)."""

    input: Array
    hidden: Array
    input_bias: Array
    hidden_bias: Array


class GRUGradients(NamedTuple):
    """Those of `GRUArrays`: flat totals, and scratch with a row of the same for each of the ⌈B / ROWS⌉ blocks."""

    partials: tuple[Array, ...]
    totals: tuple[Array, ...]


@compiled
def forward(counters, windows, mask, weights, last, saved) -> None:
    """windows (K, T, B, F) → last (K, B, S), from the zero state.

    `mask` is (K, T, B), what the states are multiplied by, or
    empty. `saved` is flat, K · B · T · `SAVED` · P numbers for the backward pass, or empty: a task's rows, step after step.
    """
    weight_input, weight_hidden, bias_input, bias_hidden = weights
    networks, steps, batch, features = windows.shape
    units, blocks = last.shape[2], (batch + ROWS - 1) // ROWS
    padded = _padded(units)
    inputs, recurrent = np.empty(ROWS * 3 * padded, windows.dtype), np.empty(ROWS * 3 * padded, windows.dtype)
    padded_input_weights, padded_hidden_weights = (
        np.zeros((features, 3 * padded), windows.dtype),
        np.zeros((padded, 3 * padded), windows.dtype),
    )
    biases = np.zeros((2, 3 * padded), windows.dtype)
    states = np.empty((2, ROWS * padded), windows.dtype)
    padding = new_padding(max(ROWS, features, padded), windows)
    flat, unsaved = windows.reshape(-1), np.empty(ROWS * SAVED * padded, windows.dtype)
    for task in tasks(counters, networks * blocks):
        k, first = task // blocks, task % blocks * ROWS
        rows = min(ROWS, batch - first)
        _pad_gates(weight_input[k], units, padded_input_weights)
        _pad_gates(weight_hidden[k], units, padded_hidden_weights)
        _pad_gates(bias_input[k], units, biases[:1])
        _pad_gates(bias_hidden[k], units, biases[1:])
        state, next_state = states[0], states[1]
        state[:] = 0
        for t in range(steps):
            origin = ((k * steps + t) * batch + first) * features
            _affine(flat, origin, features, padded_input_weights, biases[0], inputs, rows, padding)
            _affine(state, 0, padded, padded_hidden_weights, biases[1], recurrent, rows, padding)
            target, offset = unsaved, 0
            if saved.size > 0:
                target, offset = saved.reshape(-1), ((k * batch + first) * steps + t * rows) * SAVED * padded
            _cells(inputs, recurrent, state, next_state, rows, padded, target, offset)
            if mask.size > 0:
                for b in range(rows):
                    next_state[b * padded : (b + 1) * padded] *= mask[k, t, first + b]
            state, next_state = next_state, state
        for b in range(rows):
            last[k, first + b] = state[b * padded : b * padded + units]


@compiled
def backward(counters, windows, weight_hidden, saved, grad_last, grad_weights) -> None:
    """From the gradient of the last state (K, B, S) to those of the parameters, by backpropagation through time.

    windows (K, T, B, F), weight_hidden (K, S, 3 S) and `saved` are those of `forward`.
    """
    partials, totals = grad_weights
    networks, steps, batch, features = windows.shape
    units, blocks = grad_last.shape[2], (batch + ROWS - 1) // ROWS
    padded = _padded(units)
    padded_hidden_weights = np.zeros((padded, 3 * padded), windows.dtype)
    transposed = np.empty(3 * padded * padded, windows.dtype)
    inputs = np.empty(steps * ROWS * features, windows.dtype)
    derivatives = np.empty(steps * ROWS * 4 * padded, windows.dtype)
    gradient, carried = np.empty(ROWS * padded, windows.dtype), np.empty(ROWS * padded, windows.dtype)
    gathered = np.empty(max(features, padded) * 3 * padded, windows.dtype)
    padding, flat = new_padding(max(ROWS, padded), windows), saved.reshape(-1)
    for task in tasks(counters, networks * blocks + num_sums(totals)):
        if task >= networks * blocks:
            add_up(counters, networks * blocks, task - networks * blocks, partials, totals)
            continue
        k, block = task // blocks, task % blocks
        first = block * ROWS
        rows = min(ROWS, batch - first)
        _pad_gates(weight_hidden[k], units, padded_hidden_weights)
        for gate in range(3 * padded):
            for unit in range(padded):
                transposed[gate * padded + unit] = padded_hidden_weights[unit, gate]
        gradient[:] = 0
        for b in range(rows):
            gradient[b * padded : b * padded + units] = grad_last[k, first + b]
        origin = (k * batch + first) * steps * SAVED * padded
        for t in range(steps - 1, -1, -1):
            offset, saved_start = t * rows * 4 * padded, origin + t * rows * SAVED * padded
            _derivatives(flat, saved_start, gradient, carried, rows, padded, derivatives, offset)
            product(
                (derivatives, offset + padded, 4 * padded, 1), (transposed, 0, padded), BIASED, (carried, 0, padded),
                (gradient, 0), (rows, 3 * padded, padded), padding,
            )  # fmt: skip
        _gather(windows, k, first, rows, inputs)
        depth, gates = steps * rows, (derivatives, 0, 4 * padded)  # n, r, z for the inputs
        product((inputs, 0, 1, features), gates, RAW, gates, (gathered, 0), (features, depth, 3 * padded), padding)
        _unpad(gathered, features, units, padded, 1, partials[0][block], k)
        gates = (derivatives, padded, 4 * padded)  # r, z, n for the state
        product(
            (flat, origin, 1, SAVED * padded), gates, RAW, gates, (gathered, 0), (units, depth, 3 * padded), padding
        )
        _unpad(gathered, units, units, padded, 0, partials[1][block], k)
        _sum_rows(derivatives, 0, depth, padded, gathered)
        _unpad(gathered, 1, units, padded, 1, partials[2][block], k)
        _sum_rows(derivatives, padded, depth, padded, gathered)
        _unpad(gathered, 1, units, padded, 0, partials[3][block], k)


@njit(**JIT)
def _padded(units):
    return (units + LANES - 1) // LANES * LANES


@njit(**JIT)
def _pad_gates(source, units, padded):
    """(…, 3 S) → (≥ …, 3 P)."""
    padded_units = padded.shape[1] // 3
    for row in range(source.shape[0]):
        for gate in range(3):
            for unit in range(units):
                padded[row, gate * padded_units + unit] = source[row, gate * units + unit]


@njit(**JIT)
def _unpad(gathered, rows, units, padded, rotated, partial, network):
    """(…, 3 P) → the part (…, 3 S) of one network; gates that were `rotated` came as n, r, z."""
    offset = network * rows * 3 * units
    for row in range(rows):
        for gate in range(3):
            source_gate = (gate + rotated) % 3
            for unit in range(units):
                partial[offset + (row * 3 + gate) * units + unit] = gathered[(row * 3 + source_gate) * padded + unit]


@njit(**JIT)
def _affine(values, origin, width, weight, bias, out, rows, padding):
    """out (rows, 3 P) = values (rows, width) · weight + bias."""
    columns = weight.shape[1]
    product(
        (values, origin, width, 1), (weight.reshape(-1), 0, columns), BIASED, (bias, 0, 0), (out, 0),
        (rows, width, columns), padding,
    )  # fmt: skip


@njit(**JIT)
def _cells(inputs, recurrent, state, next_state, rows, padded, saved, offset):
    """The gates and the next state of every row."""
    one, two = splat(state.dtype.type(1.0)), splat(state.dtype.type(2.0))
    for b in range(rows):
        row_offset, gates, saved_offset = b * padded, b * 3 * padded, offset + b * SAVED * padded
        for j in range(0, padded, lane_count(state)):
            reset = sigmoid(load(inputs, gates + j) + load(recurrent, gates + j))
            update = sigmoid(load(inputs, gates + padded + j) + load(recurrent, gates + padded + j))
            recurrent_candidate = load(recurrent, gates + 2 * padded + j)
            candidate = (
                two * sigmoid(two * (load(inputs, gates + 2 * padded + j) + reset * recurrent_candidate)) - one
            )  # tanh
            previous = load(state, row_offset + j)
            store(next_state, row_offset + j, candidate + update * (previous - candidate))
            store(saved, saved_offset + j, previous)
            store(saved, saved_offset + padded + j, reset)
            store(saved, saved_offset + 2 * padded + j, update)
            store(saved, saved_offset + 3 * padded + j, candidate)
            store(saved, saved_offset + 4 * padded + j, recurrent_candidate)


@njit(**JIT)
def _derivatives(saved, saved_start, gradient, carried, rows, padded, derivatives, offset):
    """The gradients of a step's pre-activations: n, r, z, and of U h + b' of n; `carried` is what z lets through."""
    one = splat(gradient.dtype.type(1.0))
    for b in range(rows):
        row_offset, saved_offset, out_offset = b * padded, saved_start + b * SAVED * padded, offset + b * 4 * padded
        for j in range(0, padded, lane_count(gradient)):
            previous, reset = load(saved, saved_offset + j), load(saved, saved_offset + padded + j)
            update, candidate = load(saved, saved_offset + 2 * padded + j), load(saved, saved_offset + 3 * padded + j)
            grad_state = load(gradient, row_offset + j)
            grad_candidate = grad_state * (one - update) * (one - candidate * candidate)
            grad_reset = grad_candidate * load(saved, saved_offset + 4 * padded + j) * reset * (one - reset)
            store(derivatives, out_offset + j, grad_candidate)
            store(derivatives, out_offset + padded + j, grad_reset)
            store(
                derivatives, out_offset + 2 * padded + j, grad_state * (previous - candidate) * update * (one - update)
            )
            store(derivatives, out_offset + 3 * padded + j, grad_candidate * reset)
            store(carried, row_offset + j, grad_state * update)


@njit(**JIT)
def _gather(windows, network, first, rows, inputs):
    """A task's inputs, step after step: (T · rows, F)."""
    steps, features = windows.shape[1], windows.shape[3]
    for t in range(steps):
        for b in range(rows):
            row = windows[network, t, first + b]
            for f in range(features):
                inputs[(t * rows + b) * features + f] = row[f]


@njit(**JIT)
def _sum_rows(derivatives, column, depth, padded, out):
    """out (3 P) = the sum over rows of three gates of `derivatives` (depth, 4 P), from `column` on."""
    lanes = lane_count(derivatives)
    for j in range(0, 3 * padded, lanes):
        total = splat(derivatives.dtype.type(0.0))
        for row in range(depth):
            total = total + load(derivatives, row * 4 * padded + column + j)
        store(out, j, total)
