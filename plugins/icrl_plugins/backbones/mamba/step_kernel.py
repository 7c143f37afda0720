"""One token through a Mamba block between its two outer projections, in a single call: for adaptation, step by step.

PyTorch would need a dozen small operations, each of which costs more to start than to do.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from icrl_plugins.backbones.mamba.jit import compiled
from icrl_plugins.backbones.mamba.vectors import JIT, decay, decay_scale, exponential, sigmoid, softplus


@njit(**JIT)  # type: ignore[untyped-decorator]
def _matvec(weight, x, out):  # type: ignore[no-untyped-def]
    """out = weight (O, I) @ x (I)."""
    for o in range(weight.shape[0]):
        total = out.dtype.type(0)
        for i in range(weight.shape[1]):
            total += weight[o, i] * x[i]
        out[o] = total


@compiled
def step(  # type: ignore[no-untyped-def]
    xz, conv_state, state, conv_weight, conv_bias, x_proj, dt_proj, dt_bias, A_log, D, out, next_conv, next_state
):
    """One step for a batch.

    xz (b, 2E); conv_state, next_conv (b, W - 1, E), the newest input last; state, next_state (b, E, N);
    conv_weight (E, 1, W); x_proj (R + 2N, E); dt_proj (E, R); A_log (E, N); conv_bias, dt_bias, D (E); out (b, E).
    """
    batch = xz.shape[0]
    channels, num_states = A_log.shape
    width = conv_weight.shape[2]
    rank = dt_proj.shape[1]
    x = np.empty(channels, xz.dtype)
    dt = np.empty(channels, xz.dtype)
    projected = np.empty(x_proj.shape[0], xz.dtype)
    for b in range(batch):
        for e in range(channels):
            c = conv_bias[e] + conv_weight[e, 0, width - 1] * xz[b, e]
            for j in range(width - 1):
                c += conv_weight[e, 0, j] * conv_state[b, j, e]
            x[e] = c * sigmoid(c)
        for j in range(width - 2):
            next_conv[b, j] = conv_state[b, j + 1]
        if width > 1:
            next_conv[b, width - 2] = xz[b, :channels]
        _matvec(x_proj, x, projected)
        _matvec(dt_proj, projected[:rank], dt)
        for e in range(channels):
            dt[e] = softplus(dt[e] + dt_bias[e])
        for e in range(channels):
            rate = -dt[e] * decay_scale(dt[e])
            increment = dt[e] * x[e]
            y = D[e] * x[e]
            for n in range(num_states):
                h = decay(rate * exponential(A_log[e, n])) * state[b, e, n] + increment * projected[rank + n]
                next_state[b, e, n] = h
                y += h * projected[rank + num_states + n]
            gate = xz[b, channels + e]
            out[b, e] = y * gate * sigmoid(gate)
