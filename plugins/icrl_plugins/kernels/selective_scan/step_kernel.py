"""One token through a Mamba block between its two outer projections, in a single call: for adaptation, step by step.

PyTorch would need a dozen small operations, each of which costs more to start than to do. Letters as in kernel.py; W is
the width of the convolution, R the rank of the step size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.vectors import JIT, decay, decay_scale, exponential, sigmoid, softplus
from icrl_registry.contracts import Array


class State(NamedTuple):
    """Of a block: the convolution's last inputs (b, W - 1, E), the newest last, and the scan's state (b, E, N)."""

    inputs: Array
    scan: Array


class Convolution(NamedTuple):
    """Weight (E, 1, W) and bias (E)."""

    weight: Array
    bias: Array


class Projections(NamedTuple):
    """x_proj (R + 2N, E), dt_proj (E, R), and the bias of dt (E)."""

    x: Array
    dt: Array
    dt_bias: Array


@njit(**JIT)
def _convolve(xz, conv_state, taps, bias, b, x):
    """x (E) = SiLU of the convolution at the newest input; taps (W, E)."""
    width = taps.shape[0]
    for e in range(x.size):
        x[e] = bias[e] + taps[width - 1, e] * xz[b, e]
    for j in range(width - 1):
        for e in range(x.size):
            x[e] += taps[j, e] * conv_state[b, j, e]
    for e in range(x.size):
        x[e] = x[e] * sigmoid(x[e])


@njit(**JIT)
def _project(weight, x, out):
    """out = weight (O, I) @ x (I), I being all of the weight's columns."""
    for o in range(weight.shape[0]):
        total = out.dtype.type(0)
        for i in range(weight.shape[1]):
            total += weight[o, i] * x[i]
        out[o] = total


@njit(**JIT)
def _scan(state, next_state, rates, dt, x, BC, y):
    """next_state[e, n] = decay(dt[e] rates[e, n]) state[e, n] + dt[e] x[e] B[n], y[e] = sum_n C[n] next_state[e, n]."""
    B, C = BC
    for e in range(dt.size):
        step = dt[e]
        increment = dt[e] * x[e]
        total = y.dtype.type(0)
        for n in range(B.size):
            h = decay(step * rates[e, n]) * state[e, n] + increment * B[n]
            next_state[e, n] = h
            total += h * C[n]
        y[e] = total


@compiled
def step(xz, before, convolution, projections, A_log, D, out, after) -> None:
    """One step for a batch: xz (b, 2E) and the state `before` → out (b, E) and the state `after`; A_log (E, N), D (E)."""
    (conv_state, state), (next_conv, next_state) = before, after
    (conv_weight, conv_bias), (x_proj, dt_proj, dt_bias) = convolution, projections
    channels, num_states = A_log.shape
    width = conv_weight.shape[2]
    rank = dt_proj.shape[1]
    x = np.empty(channels, xz.dtype)
    dt = np.empty(channels, xz.dtype)
    y = np.empty(channels, xz.dtype)
    projected = np.empty(x_proj.shape[0], xz.dtype)
    B = projected[rank : rank + num_states]
    C = projected[rank + num_states :]
    taps = np.empty((width, channels), xz.dtype)
    rates = np.empty((channels, num_states), xz.dtype)
    for e in range(channels):
        for j in range(width):
            taps[j, e] = conv_weight[e, 0, j]
        for n in range(num_states):
            rates[e, n] = -exponential(A_log[e, n]) * decay_scale(A_log[e, n])
    for b in range(xz.shape[0]):
        _convolve(xz, conv_state, taps, conv_bias, b, x)
        for j in range(width - 1):
            for e in range(channels):
                next_conv[b, j, e] = conv_state[b, j + 1, e] if j < width - 2 else xz[b, e]
        _project(x_proj, x, projected)
        _project(dt_proj, projected, dt)
        for e in range(channels):
            dt[e] = softplus(dt[e] + dt_bias[e])
        _scan(state[b], next_state[b], rates, dt, x, (B, C), y)
        for e in range(channels):
            gate = xz[b, channels + e]
            out[b, e] = (y[e] + D[e] * x[e]) * gate * sigmoid(gate)
