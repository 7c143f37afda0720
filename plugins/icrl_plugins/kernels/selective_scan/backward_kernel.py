"""The selective scan on a CPU, backward (forward, formulas and layout: kernel.py).

The forward kept the state at the borders of chunks only. The backward walks the chunks from the last to the first,
recomputes the states inside one, and runs the adjoint recurrence back through it: with q_t = dLoss/dh_t,

    q_t[n, e] = exp(dt_{t+1}[e] A[e, n]) q_{t+1}[n, e] + C_t[n] dLoss/dy_t[e]

Sums over channels (for B and C) are left as one partial sum per block, and sums over the batch (for A, D and the bias) as
one per sequence; the last tasks add them in a fixed order, so no number depends on how many threads share the tasks.
"""

from __future__ import annotations

from typing import NamedTuple

from numba import njit

from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.partial_sums import add_up, num_sums
from icrl_plugins.kernels.runtime.scratch import scratch
from icrl_plugins.kernels.runtime.tasks import tasks
from icrl_plugins.kernels.runtime.vectors import (
    JIT,
    LANES,
    decay,
    decay_scale,
    lane_count,
    lane_sum,
    load,
    prefetch,
    sigmoid,
    splat,
    store,
)
from icrl_plugins.kernels.selective_scan.kernel import (
    BLOCK,
    CHUNK,
    LINE_BYTES,
    Span,
    StepSizes,
    find_step_sizes,
    load_rates,
    load_rows,
    load_states,
    store_rows,
    store_states,
)
from icrl_registry.contracts import Array


class Upstream(NamedTuple):
    """The gradients of the outputs (b, T, E) and of the last state (b, E, N)."""

    out: Array
    last: Array


class Gradients(NamedTuple):
    """Those of x and dt, of z (b, T, E), a placeholder without a gate, and of the initial state (b, E, N)."""

    x: Array
    dt: Array
    z: Array
    initial: Array


class Sums(NamedTuple):
    """The gradients of A, B, C, D and dt_bias, which are sums over tasks.

    `totals` are flat; `partials` are scratch of the same with a row for each part: (b, E N), (blocks, b T N) twice,
    (b, E) twice.
    """

    partials: tuple[Array, ...]
    totals: tuple[Array, ...]


class _History(NamedTuple):
    """A chunk once more: states (CHUNK + 1, N, BLOCK), the border's first, and decays (CHUNK, N, BLOCK)."""

    states: Array
    decays: Array


class _Adjoint(NamedTuple):
    """dLoss/dy (CHUNK, BLOCK), and dLoss/dh (N, BLOCK) of the step before, which is carried."""

    grad_y: Array
    grad_state: Array


class _StepSums(NamedTuple):
    """(CHUNK, BLOCK) each, with q = dLoss/dh_t: sum_n q B[n], and sum_n q decay h_{t-1} a."""

    with_B: Array
    with_decay: Array


class _Parts(NamedTuple):
    """Where a task's shares go: of A (N, BLOCK), of B and C (blocks, b, T, N); and (2, N, LANES) for sums by lane."""

    A: Array
    B: Array
    C: Array
    by_lane: Array


@njit(**JIT)
def _expect_border(borders, b, block, chunk):
    """Asks for the state before a chunk, which comes next."""
    size = borders.shape[3] * BLOCK
    first = ((b * borders.shape[1] + block) * borders.shape[2] + chunk) * size
    for offset in range(0, size, LINE_BYTES // borders.itemsize):
        prefetch(borders, first + offset)


@njit(**JIT)
def _recompute_chunk(sequence, span, a, sizes, history, ys):
    """As `_scan_chunk`, but keeps every state (h[0] is the border's, h[i + 1] that after step i) and every decay."""
    (_, _, B, C), (ds, du), (h, decays) = sequence, sizes, history
    b, begin, end = span.sequence, span.begin, span.end
    lanes = lane_count(ys)
    stride = a.shape[0] * BLOCK
    for t in range(begin, end):
        i = t - begin
        for v in range(0, BLOCK, lanes):
            dt = load(ds, i * BLOCK + v)
            dt_x = load(du, i * BLOCK + v)
            y = splat(ys.dtype.type(0))
            for n in range(a.shape[0]):
                offset = n * BLOCK + v
                factor = decay(dt * load(a, offset))
                state = factor * load(h, i * stride + offset) + dt_x * splat(B[b, t, n])
                store(decays, i * stride + offset, factor)
                store(h, (i + 1) * stride + offset, state)
                y += state * splat(C[b, t, n])
            store(ys, i * BLOCK + v, y)


@njit(**JIT)
def _adjoint_chunk(sequence, span, a, sizes, history, adjoint, sums, parts):
    """The adjoint recurrence back over a chunk; sums over channels are kept by lane until a step is done."""
    (_, _, B, C), (ds, du), (h, decays), (grad_ys, grad_h) = sequence, sizes, history, adjoint
    (sum_b, sum_d), (grad_a, grad_B, grad_C, by_lane) = sums, parts
    b, block, begin, end = span
    lanes = lane_count(grad_ys)
    num_states = a.shape[0]
    stride = num_states * BLOCK
    for t in range(end - 1, begin - 1, -1):
        i = t - begin
        for v in range(0, BLOCK, lanes):
            dt = load(ds, i * BLOCK + v)
            dt_x = load(du, i * BLOCK + v)
            grad_y = load(grad_ys, i * BLOCK + v)
            b_sum = splat(grad_ys.dtype.type(0))
            d_sum = splat(grad_ys.dtype.type(0))
            for n in range(num_states):
                offset = n * BLOCK + v
                q = load(grad_h, offset) + grad_y * splat(C[b, t, n])
                b_sum += q * splat(B[b, t, n])
                share_of_B = q * dt_x
                share_of_C = grad_y * load(h, (i + 1) * stride + offset)
                if v > 0:
                    share_of_B += load(by_lane, n * LANES)
                    share_of_C += load(by_lane, (num_states + n) * LANES)
                store(by_lane, n * LANES, share_of_B)
                store(by_lane, (num_states + n) * LANES, share_of_C)
                carried = q * load(decays, i * stride + offset)
                store(grad_h, offset, carried)
                w = carried * load(h, i * stride + offset)
                d_sum += w * load(a, offset)
                store(grad_a, offset, load(grad_a, offset) + w * dt)
            store(sum_b, i * BLOCK + v, b_sum)
            store(sum_d, i * BLOCK + v, d_sum)
        for n in range(num_states):
            grad_B[block, b, t, n] = lane_sum(load(by_lane, n * LANES))
            grad_C[block, b, t, n] = lane_sum(load(by_lane, (num_states + n) * LANES))


@njit(**JIT)
def _through_gate(skip, has_gate, xs, zs, count, ys, grad_ys, grad_skip):
    """From dLoss/dout in gs to dLoss/dy in gs and dLoss/dz in ys; adds to grad_skip."""
    one = splat(ys.dtype.type(1))
    for v in range(0, BLOCK, lane_count(ys)):
        total = load(grad_skip, v)
        for i in range(count):
            offset = i * BLOCK + v
            x = load(xs, offset)
            grad_y = load(grad_ys, offset)
            if has_gate:
                z = load(zs, offset)
                s = sigmoid(z)
                y = load(ys, offset) + load(skip, v) * x
                store(ys, offset, grad_y * y * s * (one + z * (one - s)))
                grad_y = grad_y * z * s
                store(grad_ys, offset, grad_y)
            total += grad_y * x
        store(grad_skip, v, total)


@njit(**JIT)
def _through_inputs(skip, unscale, inputs, grad_y, count, sums, grad_bias):
    """Turns the sums with decays into dLoss/dpre and those with B into dLoss/dx; adds to grad_bias.

    inputs: x, dt before softplus, and dt, (CHUNK, BLOCK) each.
    """
    (xs, pre, ds), (sum_b, sum_d) = inputs, sums
    for v in range(0, BLOCK, lane_count(xs)):
        total = load(grad_bias, v)
        for i in range(count):
            offset = i * BLOCK + v
            b_sum = load(sum_b, offset)
            derivative = (load(sum_d, offset) * splat(unscale) + b_sum * load(xs, offset)) * sigmoid(load(pre, offset))
            store(sum_d, offset, derivative)
            store(sum_b, offset, b_sum * load(ds, offset) + load(grad_y, offset) * load(skip, v))
            total += derivative
        store(grad_bias, v, total)


@compiled
def backward(counters, sequence, gate, weights, borders, upstream, gradients, sums) -> None:
    """Fills `gradients` and `sums`; sequence, gate, weights and borders are those of `forward`."""
    x, A, (partials, totals) = sequence.x, weights.A, sums
    batch, steps, channels = x.shape
    num_states = A.shape[1]
    blocks = (channels + BLOCK - 1) // BLOCK
    grad_A = partials[0].reshape((batch, channels, num_states))
    grad_B = partials[1].reshape((blocks, batch, steps, num_states))
    grad_C = partials[2].reshape((blocks, batch, steps, num_states))
    grad_D, grad_bias = partials[3], partials[4]
    unscale = A.dtype.type(1) / decay_scale(A[0, 0])
    a, grad_h, grad_rates = scratch((3, num_states, BLOCK), x)
    h = scratch((CHUNK + 1, num_states, BLOCK), x)
    decays = scratch((CHUNK, num_states, BLOCK), x)
    by_lane = scratch((2, num_states, LANES), x)
    xs, pre, zs, grad_ys, ds, du, ys, sum_b, sum_d = scratch((9, CHUNK, BLOCK), x)
    bias, skip, block_grad_bias, block_grad_skip = scratch((4, BLOCK), x)
    sizes, history, adjoint = StepSizes(ds, du), _History(h, decays), _Adjoint(grad_ys, grad_h)
    step_sums, parts = _StepSums(sum_b, sum_d), _Parts(grad_rates, grad_B, grad_C, by_lane)
    for task in tasks(counters, batch * blocks + num_sums(totals)):
        if task >= batch * blocks:
            add_up(counters, batch * blocks, task - batch * blocks, partials, totals)
            continue
        b = task // blocks
        block = task % blocks
        first = block * BLOCK
        width = min(BLOCK, channels - first)
        for rows in (xs, pre, zs, grad_ys, grad_rates):
            rows[:, :] = 0
        for row in (bias, skip, block_grad_bias, block_grad_skip):
            row[:] = 0
        bias[:width] = weights.dt_bias[first : first + width]
        skip[:width] = weights.D[first : first + width]
        load_rates(A, first, width, a)
        load_states(upstream.last, b, first, width, grad_h)
        for chunk in range((steps - 1) // CHUNK, -1, -1):
            begin = chunk * CHUNK
            span = Span(b, block, begin, min(begin + CHUNK, steps))
            count = span.end - begin
            h[0] = borders[b, block, chunk]
            _expect_border(borders, b, block, chunk - 1)
            load_rows(x, first, span, width, xs, -1)
            load_rows(sequence.dt, first, span, width, pre, -1)
            load_rows(upstream.out, first, span, width, grad_ys, -1)
            if gate.present:
                load_rows(gate.z, gate.column + first, span, width, zs, -1)
            find_step_sizes(pre, bias, xs, count, sizes)
            _recompute_chunk(sequence, span, a, sizes, history, ys)
            _through_gate(skip, gate.present, xs, zs, count, ys, grad_ys, block_grad_skip)
            if gate.present:
                store_rows(ys, span, first, width, gradients.z)
            _adjoint_chunk(sequence, span, a, sizes, history, adjoint, step_sums, parts)
            _through_inputs(skip, unscale, (xs, pre, ds), grad_ys, count, step_sums, block_grad_bias)
            store_rows(sum_d, span, first, width, gradients.dt)
            store_rows(sum_b, span, first, width, gradients.x)
        grad_D[b, first : first + width] = block_grad_skip[:width]
        grad_bias[b, first : first + width] = block_grad_bias[:width]
        store_states(grad_rates, b, first, width, grad_A)
        store_states(grad_h, b, first, width, gradients.initial)
