"""The selective scan on a CPU: numba kernels, forward and backward in one pass each (Mamba, arXiv 2312.00752, eq. 2).

    dt = softplus(dt_raw + dt_bias)
    h_t[n, e] = exp(dt_t[e] A[e, n]) h_{t-1}[n, e] + dt_t[e] x_t[e] B_t[n]
    y_t[e] = sum_n C_t[n] h_t[n, e] + D[e] x_t[e],     out_t[e] = y_t[e] silu(z_t[e])

How it is laid out. A task is one sequence of the batch and one block of `BLOCK` channels; its N · BLOCK states stay in the
first-level cache for the whole sequence. The innermost loop runs over the block's channels, so every line is a vector
instruction, B_t[n] and C_t[n] are broadcast scalars, and no sum crosses lanes on the way forward. Blocks are always
computed in full width (channels past E are zeros), so that the trip count is a constant.

The forward keeps the state only at the borders of chunks of `CHUNK` steps. The backward walks the chunks from the last
to the first, recomputes the states inside one, and then runs the adjoint recurrence through it. Sums over channels (for B, C)
are left as one partial sum per block and sums over the batch (for A, D and the bias) as one per sequence; they are
added afterwards in a fixed order, so the numbers do not depend on how many threads share the tasks.

Besides the letters of the contracts: E inner channels, N state size, C chunks. Arrays are C-contiguous; z may be a column
range of wider rows and starts at column `z_column` of each. A flag `has_*` = False means that the array is a placeholder.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from icrl_plugins.backbones.mamba.jit import compiled
from icrl_plugins.backbones.mamba.vector_math import JIT, decay, decay_scale, sigmoid, softplus

BLOCK = 64  # channels of a task: four vectors of 16 float32, enough to hide the latency of the exponential
CHUNK = 16  # steps whose states the backward holds at once: 2 · CHUNK · N · BLOCK floats stay in the second-level cache


@njit(**JIT)  # type: ignore[untyped-decorator]
def _load_step(x, dt, dt_bias, softplus_dt, first, width, xs, pre, ds, du):  # type: ignore[no-untyped-def]
    """One step's inputs of a block, padded with zeros: xs = x, pre = dt before softplus, ds = dt, du = dt x."""
    for e in range(width):
        xs[e] = x[first + e]
        pre[e] = dt[first + e] + dt_bias[first + e]
    if softplus_dt:
        for e in range(BLOCK):
            ds[e] = softplus(pre[e])
    else:
        for e in range(BLOCK):
            ds[e] = pre[e]
    for e in range(BLOCK):
        du[e] = ds[e] * xs[e]


@njit(**JIT)  # type: ignore[untyped-decorator]
def _load_decays(A, first, width, a):  # type: ignore[no-untyped-def]
    """a[n, e] = A[first + e, n], scaled for `decay`, zero past the last channel."""
    a[:, :] = 0
    for e in range(width):
        for n in range(A.shape[1]):
            a[n, e] = A[first + e, n] * decay_scale(A[first + e, n])


@compiled
def forward(  # type: ignore[no-untyped-def]
    start, stride, x, dt, A, B, C, D, z, z_column, dt_bias, softplus_dt, has_z, initial, keep, out, last, borders
):
    """Tasks start, start + stride, … of the forward pass.

    x, dt, out (b, T, E); A (E, N); B, C (b, T, N); D, dt_bias (E); z (b, T, ≥ z_column + E); initial, last (b, E, N);
    borders (b, blocks, C, N, BLOCK), written if `keep`.
    """
    batch, steps, channels = x.shape
    num_states = A.shape[1]
    blocks = (channels + BLOCK - 1) // BLOCK
    a = np.empty((num_states, BLOCK), x.dtype)
    h = np.empty((num_states, BLOCK), x.dtype)
    xs = np.zeros(BLOCK, x.dtype)
    pre = np.zeros(BLOCK, x.dtype)
    ds = np.empty(BLOCK, x.dtype)
    du = np.empty(BLOCK, x.dtype)
    ys = np.empty(BLOCK, x.dtype)
    for task in range(start, batch * blocks, stride):
        b = task // blocks
        block = task % blocks
        first = block * BLOCK
        width = min(BLOCK, channels - first)
        xs[:] = 0
        pre[:] = 0
        _load_decays(A, first, width, a)
        h[:, :] = 0
        for e in range(width):
            for n in range(num_states):
                h[n, e] = initial[b, first + e, n]
        for t in range(steps):
            if keep and t % CHUNK == 0:
                borders[b, block, t // CHUNK] = h
            _load_step(x[b, t], dt[b, t], dt_bias, softplus_dt, first, width, xs, pre, ds, du)
            ys[:] = 0
            for n in range(num_states):
                bn = B[b, t, n]
                cn = C[b, t, n]
                for e in range(BLOCK):
                    v = decay(ds[e] * a[n, e]) * h[n, e] + du[e] * bn
                    h[n, e] = v
                    ys[e] += v * cn
            for e in range(width):
                out[b, t, first + e] = ys[e] + D[first + e] * xs[e]
            if has_z:
                for e in range(width):
                    gate = z[b, t, z_column + first + e]
                    out[b, t, first + e] *= gate * sigmoid(gate)
        for e in range(width):
            for n in range(num_states):
                last[b, first + e, n] = h[n, e]


@njit(**JIT)  # type: ignore[untyped-decorator]
def _recompute_chunk(  # type: ignore[no-untyped-def]
    x, dt, B, C, dt_bias, softplus_dt, begin, end, first, width, a, xs, pre, ds, du, ys, h, decays
):
    """The forward pass from `begin` to `end` of one sequence, keeping h[0..] (the border's state first) and decays."""
    for t in range(begin, end):
        i = t - begin
        _load_step(x[t], dt[t], dt_bias, softplus_dt, first, width, xs[i], pre[i], ds[i], du[i])
        ys[i] = 0
        for n in range(a.shape[0]):
            bn = B[t, n]
            cn = C[t, n]
            for e in range(BLOCK):
                factor = decay(ds[i, e] * a[n, e])
                v = factor * h[i, n, e] + du[i, e] * bn
                decays[i, n, e] = factor
                h[i + 1, n, e] = v
                ys[i, e] += v * cn


@njit(**JIT)  # type: ignore[untyped-decorator]
def _adjoint_step(  # type: ignore[no-untyped-def]
    B, C, g, a, h_before, h, decays, ds, du, gh, grad_a, grad_B, grad_C, sum_b, sum_d
):
    """One step back: gh is dLoss/dh_t without this step's output on entry, and dLoss/dh_{t-1} on return.

    g (BLOCK) is dLoss/dy. sum_b[e] = sum_n q B[n] and sum_d[e] = sum_n q decay h_before a, with q = dLoss/dh_t.
    """
    sum_b[:] = 0
    sum_d[:] = 0
    for n in range(a.shape[0]):
        bn = B[n]
        cn = C[n]
        total_b = grad_B.dtype.type(0)
        total_c = grad_C.dtype.type(0)
        for e in range(BLOCK):
            q = gh[n, e] + g[e] * cn
            total_c += g[e] * h[n, e]
            total_b += q * du[e]
            sum_b[e] += q * bn
            carried = q * decays[n, e]
            w = carried * h_before[n, e]
            sum_d[e] += w * a[n, e]
            grad_a[n, e] += w * ds[e]
            gh[n, e] = carried
        grad_B[n] = total_b
        grad_C[n] = total_c


@compiled
def backward(  # type: ignore[no-untyped-def]
    start, stride, x, dt, A, B, C, D, z, z_column, dt_bias, softplus_dt, has_z, borders, grad_out, grad_last,
    grad_x, grad_dt, grad_A, grad_B, grad_C, grad_D, grad_z, grad_bias, grad_initial,
):  # fmt: skip
    """Tasks start, start + stride, … of the backward pass.

    As `forward`, and: grad_A (b, E, N), grad_D, grad_bias (b, E), grad_B, grad_C (blocks, b, T, N) partial sums.
    """
    batch, steps, channels = x.shape
    num_states = A.shape[1]
    blocks = (channels + BLOCK - 1) // BLOCK
    unscale = 1 / decay_scale(A[0, 0])
    a = np.empty((num_states, BLOCK), x.dtype)
    gh = np.empty((num_states, BLOCK), x.dtype)
    ga = np.empty((num_states, BLOCK), x.dtype)
    h = np.empty((CHUNK + 1, num_states, BLOCK), x.dtype)
    decays = np.empty((CHUNK, num_states, BLOCK), x.dtype)
    xs = np.zeros((CHUNK, BLOCK), x.dtype)
    pre = np.zeros((CHUNK, BLOCK), x.dtype)
    ds = np.empty((CHUNK, BLOCK), x.dtype)
    du = np.empty((CHUNK, BLOCK), x.dtype)
    ys = np.empty((CHUNK, BLOCK), x.dtype)
    g = np.zeros(BLOCK, x.dtype)
    sum_b = np.empty(BLOCK, x.dtype)
    sum_d = np.empty(BLOCK, x.dtype)
    for task in range(start, batch * blocks, stride):
        b = task // blocks
        block = task % blocks
        first = block * BLOCK
        width = min(BLOCK, channels - first)
        xs[:, :] = 0
        pre[:, :] = 0
        g[:] = 0
        gh[:, :] = 0
        ga[:, :] = 0
        _load_decays(A, first, width, a)
        for e in range(width):
            grad_D[b, first + e] = 0
            grad_bias[b, first + e] = 0
            for n in range(num_states):
                gh[n, e] = grad_last[b, first + e, n]
        for chunk in range((steps - 1) // CHUNK, -1, -1):
            begin = chunk * CHUNK
            end = min(begin + CHUNK, steps)
            h[0] = borders[b, block, chunk]
            _recompute_chunk(
                x[b],
                dt[b],
                B[b],
                C[b],
                dt_bias,
                softplus_dt,
                begin,
                end,
                first,
                width,
                a,
                xs,
                pre,
                ds,
                du,
                ys,
                h,
                decays,
            )
            for t in range(end - 1, begin - 1, -1):
                i = t - begin
                for e in range(width):
                    g[e] = grad_out[b, t, first + e]
                if has_z:
                    for e in range(width):
                        gate = z[b, t, z_column + first + e]
                        s = sigmoid(gate)
                        y = ys[i, e] + D[first + e] * xs[i, e]
                        grad_z[b, t, first + e] = g[e] * y * s * (1 + gate * (1 - s))
                        g[e] *= gate * s
                _adjoint_step(
                    B[b, t], C[b, t], g, a, h[i], h[i + 1], decays[i], ds[i], du[i], gh, ga,
                    grad_B[block, b, t], grad_C[block, b, t], sum_b, sum_d,
                )  # fmt: skip
                for e in range(width):
                    slope = sum_d[e] * unscale + sum_b[e] * xs[i, e]
                    if softplus_dt:
                        slope *= sigmoid(pre[i, e])
                    grad_dt[b, t, first + e] = slope
                    grad_bias[b, first + e] += slope
                    grad_x[b, t, first + e] = sum_b[e] * ds[i, e] + g[e] * D[first + e]
                    grad_D[b, first + e] += g[e] * xs[i, e]
        for e in range(width):
            for n in range(num_states):
                grad_A[b, first + e, n] = ga[n, e]
                grad_initial[b, first + e, n] = gh[n, e]
