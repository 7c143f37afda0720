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
from icrl_plugins.backbones.mamba.vectors import (
    JIT,
    LANES,
    decay,
    decay_scale,
    lane_count,
    lane_sum,
    load,
    sigmoid,
    softplus,
    splat,
    store,
)

BLOCK = 64  # channels of a task: four vectors of 16 float32, enough to hide the latency of the exponential
CHUNK = 16  # steps whose states the backward holds at once: 2 · CHUNK · N · BLOCK floats stay in the second-level cache


@njit(**JIT)  # type: ignore[untyped-decorator]
def _load_decays(A, first, width, a):  # type: ignore[no-untyped-def]
    """a[n, e] = A[first + e, n], scaled for `decay`, zero past the last channel."""
    a[:, :] = 0
    for e in range(width):
        for n in range(A.shape[1]):
            a[n, e] = A[first + e, n] * decay_scale(A[first + e, n])


@njit(**JIT)  # type: ignore[untyped-decorator]
def _load_chunk(x, dt, dt_bias, softplus_dt, b, begin, end, first, width, xs, pre, ds, du):  # type: ignore[no-untyped-def]
    """A chunk's inputs of a block: xs = x, pre = dt before softplus, ds = dt, du = dt x; all (CHUNK, BLOCK)."""
    for t in range(begin, end):
        for e in range(width):
            xs[t - begin, e] = x[b, t, first + e]
            pre[t - begin, e] = dt[b, t, first + e] + dt_bias[first + e]
    for i in range(end - begin):
        if softplus_dt:
            for e in range(BLOCK):
                ds[i, e] = softplus(pre[i, e])
        else:
            for e in range(BLOCK):
                ds[i, e] = pre[i, e]
        for e in range(BLOCK):
            du[i, e] = ds[i, e] * xs[i, e]


@njit(**JIT)  # type: ignore[untyped-decorator]
def _load_gate(z, z_column, has_z, b, begin, end, first, width, zs):  # type: ignore[no-untyped-def]
    """zs (CHUNK, BLOCK) = z, if there is one."""
    if has_z:
        for t in range(begin, end):
            for e in range(width):
                zs[t - begin, e] = z[b, t, z_column + first + e]


@njit(**JIT)  # type: ignore[untyped-decorator]
def _scan_chunk(B, C, b, begin, end, a, ds, du, h, ys):  # type: ignore[no-untyped-def]
    """The recurrence over a chunk: h (N, BLOCK) is carried, ys (CHUNK, BLOCK) = sum_n C[n] h[n]."""
    lanes = lane_count(ys)
    for t in range(begin, end):
        row = (t - begin) * BLOCK
        for v in range(0, BLOCK, lanes):
            dt = load(ds, row + v)
            dt_x = load(du, row + v)
            y = splat(ys.dtype.type(0))
            for n in range(a.shape[0]):
                at = n * BLOCK + v
                state = decay(dt * load(a, at)) * load(h, at) + dt_x * splat(B[b, t, n])
                store(h, at, state)
                y += state * splat(C[b, t, n])
            store(ys, row + v, y)


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
    xs = np.zeros((CHUNK, BLOCK), x.dtype)
    pre = np.zeros((CHUNK, BLOCK), x.dtype)
    zs = np.zeros((CHUNK, BLOCK), x.dtype)
    ds = np.empty((CHUNK, BLOCK), x.dtype)
    du = np.empty((CHUNK, BLOCK), x.dtype)
    ys = np.empty((CHUNK, BLOCK), x.dtype)
    for task in range(start, batch * blocks, stride):
        b = task // blocks
        block = task % blocks
        first = block * BLOCK
        width = min(BLOCK, channels - first)
        xs[:, :] = 0
        pre[:, :] = 0
        _load_decays(A, first, width, a)
        h[:, :] = 0
        for e in range(width):
            for n in range(num_states):
                h[n, e] = initial[b, first + e, n]
        for begin in range(0, steps, CHUNK):
            end = min(begin + CHUNK, steps)
            if keep:
                borders[b, block, begin // CHUNK] = h
            _load_chunk(x, dt, dt_bias, softplus_dt, b, begin, end, first, width, xs, pre, ds, du)
            _load_gate(z, z_column, has_z, b, begin, end, first, width, zs)
            _scan_chunk(B, C, b, begin, end, a, ds, du, h, ys)
            if has_z:
                for i in range(end - begin):
                    for e in range(BLOCK):
                        zs[i, e] *= sigmoid(zs[i, e])
            for t in range(begin, end):
                i = t - begin
                for e in range(width):
                    y = ys[i, e] + D[first + e] * xs[i, e]
                    out[b, t, first + e] = y * zs[i, e] if has_z else y
        for e in range(width):
            for n in range(num_states):
                last[b, first + e, n] = h[n, e]


@njit(**JIT)  # type: ignore[untyped-decorator]
def _recompute_chunk(B, C, b, begin, end, a, ds, du, h, decays, ys):  # type: ignore[no-untyped-def]
    """As `_scan_chunk`, but keeps every state (h[0] is the border's, h[i + 1] that after step i) and every decay."""
    lanes = lane_count(ys)
    stride = a.shape[0] * BLOCK
    for t in range(begin, end):
        i = t - begin
        for v in range(0, BLOCK, lanes):
            dt = load(ds, i * BLOCK + v)
            dt_x = load(du, i * BLOCK + v)
            y = splat(ys.dtype.type(0))
            for n in range(a.shape[0]):
                at = n * BLOCK + v
                factor = decay(dt * load(a, at))
                state = factor * load(h, i * stride + at) + dt_x * splat(B[b, t, n])
                store(decays, i * stride + at, factor)
                store(h, (i + 1) * stride + at, state)
                y += state * splat(C[b, t, n])
            store(ys, i * BLOCK + v, y)


@njit(**JIT)  # type: ignore[untyped-decorator]
def _adjoint_chunk(  # type: ignore[no-untyped-def]
    B, C, b, block, begin, end, a, ds, du, h, decays, gs, gh, grad_a, grad_B, grad_C, sum_b, sum_d, totals
):
    """The adjoint recurrence back over a chunk: gh (N, BLOCK), dLoss/dh of the step before, is carried.

    gs (CHUNK, BLOCK) is dLoss/dy. With q = dLoss/dh_t: sum_b[i, e] = sum_n q B[n], sum_d[i, e] = sum_n q decay h_{t-1} a.
    totals (2, N, LANES) holds the sums over channels until the lanes are added.
    """
    lanes = lane_count(gs)
    num_states = a.shape[0]
    stride = num_states * BLOCK
    for t in range(end - 1, begin - 1, -1):
        i = t - begin
        totals[:, :, :] = 0
        for v in range(0, BLOCK, lanes):
            dt = load(ds, i * BLOCK + v)
            dt_x = load(du, i * BLOCK + v)
            g = load(gs, i * BLOCK + v)
            b_sum = splat(gs.dtype.type(0))
            d_sum = splat(gs.dtype.type(0))
            for n in range(num_states):
                at = n * BLOCK + v
                q = load(gh, at) + g * splat(C[b, t, n])
                b_sum += q * splat(B[b, t, n])
                store(totals, n * LANES, load(totals, n * LANES) + q * dt_x)
                of_c = (num_states + n) * LANES
                store(totals, of_c, load(totals, of_c) + g * load(h, (i + 1) * stride + at))
                carried = q * load(decays, i * stride + at)
                store(gh, at, carried)
                w = carried * load(h, i * stride + at)
                d_sum += w * load(a, at)
                store(grad_a, at, load(grad_a, at) + w * dt)
            store(sum_b, i * BLOCK + v, b_sum)
            store(sum_d, i * BLOCK + v, d_sum)
        for n in range(num_states):
            grad_B[block, b, t, n] = lane_sum(load(totals, n * LANES))
            grad_C[block, b, t, n] = lane_sum(load(totals, (num_states + n) * LANES))


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
    one = A.dtype.type(1)
    unscale = one / decay_scale(A[0, 0])
    a = np.empty((num_states, BLOCK), x.dtype)
    gh = np.empty((num_states, BLOCK), x.dtype)
    ga = np.empty((num_states, BLOCK), x.dtype)
    h = np.empty((CHUNK + 1, num_states, BLOCK), x.dtype)
    decays = np.empty((CHUNK, num_states, BLOCK), x.dtype)
    xs = np.zeros((CHUNK, BLOCK), x.dtype)
    pre = np.zeros((CHUNK, BLOCK), x.dtype)
    zs = np.zeros((CHUNK, BLOCK), x.dtype)
    gs = np.zeros((CHUNK, BLOCK), x.dtype)
    ds = np.empty((CHUNK, BLOCK), x.dtype)
    du = np.empty((CHUNK, BLOCK), x.dtype)
    ys = np.empty((CHUNK, BLOCK), x.dtype)
    sum_b = np.empty((CHUNK, BLOCK), x.dtype)
    sum_d = np.empty((CHUNK, BLOCK), x.dtype)
    totals = np.empty((2, num_states, LANES), x.dtype)
    skip = np.zeros(BLOCK, x.dtype)
    gD = np.zeros(BLOCK, x.dtype)
    gbias = np.zeros(BLOCK, x.dtype)
    for task in range(start, batch * blocks, stride):
        b = task // blocks
        block = task % blocks
        first = block * BLOCK
        width = min(BLOCK, channels - first)
        xs[:, :] = 0
        pre[:, :] = 0
        gs[:, :] = 0
        gh[:, :] = 0
        ga[:, :] = 0
        gD[:] = 0
        gbias[:] = 0
        _load_decays(A, first, width, a)
        for e in range(width):
            skip[e] = D[first + e]
            for n in range(num_states):
                gh[n, e] = grad_last[b, first + e, n]
        for chunk in range((steps - 1) // CHUNK, -1, -1):
            begin = chunk * CHUNK
            end = min(begin + CHUNK, steps)
            h[0] = borders[b, block, chunk]
            _load_chunk(x, dt, dt_bias, softplus_dt, b, begin, end, first, width, xs, pre, ds, du)
            _load_gate(z, z_column, has_z, b, begin, end, first, width, zs)
            _load_gate(grad_out, 0, True, b, begin, end, first, width, gs)
            _recompute_chunk(B, C, b, begin, end, a, ds, du, h, decays, ys)
            if has_z:
                for i in range(end - begin):
                    for e in range(BLOCK):
                        s = sigmoid(zs[i, e])
                        y = ys[i, e] + skip[e] * xs[i, e]
                        ys[i, e] = gs[i, e] * y * s * (one + zs[i, e] * (one - s))
                        gs[i, e] *= zs[i, e] * s
                for t in range(begin, end):
                    for e in range(width):
                        grad_z[b, t, first + e] = ys[t - begin, e]
            _adjoint_chunk(
                B, C, b, block, begin, end, a, ds, du, h, decays, gs, gh, ga, grad_B, grad_C, sum_b, sum_d, totals
            )
            for i in range(end - begin):
                for e in range(BLOCK):
                    slope = sum_d[i, e] * unscale + sum_b[i, e] * xs[i, e]
                    if softplus_dt:
                        slope *= sigmoid(pre[i, e])
                    gbias[e] += slope
                    gD[e] += gs[i, e] * xs[i, e]
                    sum_d[i, e] = slope
                    sum_b[i, e] = sum_b[i, e] * ds[i, e] + gs[i, e] * skip[e]
            for t in range(begin, end):
                for e in range(width):
                    grad_dt[b, t, first + e] = sum_d[t - begin, e]
                    grad_x[b, t, first + e] = sum_b[t - begin, e]
        for e in range(width):
            grad_D[b, first + e] = gD[e]
            grad_bias[b, first + e] = gbias[e]
            for n in range(num_states):
                grad_A[b, first + e, n] = ga[n, e]
                grad_initial[b, first + e, n] = gh[n, e]
