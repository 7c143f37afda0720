"""The selective scan on a CPU: the forward kernel, and what it shares with the backward (backward_kernel.py).

    dt = softplus(dt_raw + dt_bias)
    h_t[n, e] = exp(dt_t[e] A[e, n]) h_{t-1}[n, e] + dt_t[e] x_t[e] B_t[n]
    y_t[e] = sum_n C_t[n] h_t[n, e] + D[e] x_t[e],     out_t[e] = y_t[e] silu(z_t[e])

(Mamba, arXiv 2312.00752, eq. 2, with A discretised by zero-order hold and B by Euler's rule.)

How it is laid out. A task is one sequence of the batch and one block of `BLOCK` channels; its N · BLOCK states stay in the
first-level cache for the whole sequence. The innermost arithmetic is on vectors of channels: B_t[n] and C_t[n] are
broadcast scalars, and no sum crosses lanes on the way forward. Blocks are always computed in full width (channels past E
are zeros). Time is walked in chunks of `CHUNK` steps, whose inputs are first copied to scratch rows, while those of the
chunk to come are asked for: a block's rows lie E apart, which the processor does not foresee by itself.

Axis letters besides those of the contracts: b batch, E inner channels, N state size, c chunks. Arrays are C-contiguous.
"""

from __future__ import annotations

from typing import NamedTuple

from numba import njit

from icrl_plugins.kernels.runtime.jit import compiled
from icrl_plugins.kernels.runtime.scratch import scratch
from icrl_plugins.kernels.runtime.tasks import tasks
from icrl_plugins.kernels.runtime.vectors import (
    JIT,
    decay,
    decay_scale,
    lane_count,
    load,
    prefetch,
    sigmoid,
    softplus,
    splat,
    store,
)
from icrl_registry.contracts import Array

BLOCK = 64  # channels of a task; with N = 16 the states and their rates take 8 kB in float32
CHUNK = 32  # steps whose states the backward holds at once: 2 · CHUNK · N · BLOCK floats stay in the second-level cache
LINE_BYTES = 64  # of a cache line


class SequenceArrays(NamedTuple):
    """What differs from step to step: x, dt (b, T, E), before bias and softplus, and B, C (b, T, N)."""

    x: Array
    dt: Array
    B: Array
    C: Array


class Gate(NamedTuple):
    """z (b, T, ≥ column + E), which may be a column range of wider rows; a placeholder unless it is `present`."""

    z: Array
    column: int
    present: bool


class WeightArrays(NamedTuple):
    """A (E, N), D (E) and the bias of dt (E)."""

    A: Array
    D: Array
    dt_bias: Array


class Outputs(NamedTuple):
    """out (b, T, E), the last state (b, E, N), and (b, blocks, c, N, BLOCK): the state before each chunk."""

    out: Array
    last: Array
    borders: Array


class Span(NamedTuple):
    """A chunk of a task: which sequence and which block of channels, from one step to before another."""

    sequence: int
    block: int
    begin: int
    end: int


class StepSizes(NamedTuple):
    """Of a chunk, (CHUNK, BLOCK) each: dt = softplus(...) and dt x."""

    dt: Array
    dt_x: Array


@njit(**JIT)
def load_rates(A, first, width, a) -> None:
    """a[n, e] = A[first + e, n], scaled for `decay`; zero past the last channel."""
    a[:, :] = 0
    for e in range(width):
        for n in range(A.shape[1]):
            a[n, e] = A[first + e, n] * decay_scale(A[first + e, n])


@njit(**JIT)
def load_states(states, b, first, width, h) -> None:
    """h[n, e] = states[b, first + e, n]; zero past the last channel."""
    h[:, :] = 0
    for e in range(width):
        for n in range(states.shape[2]):
            h[n, e] = states[b, first + e, n]


@njit(**JIT)
def store_states(h, b, first, width, states) -> None:
    """states[b, first + e, n] = h[n, e]."""
    for e in range(width):
        for n in range(states.shape[2]):
            states[b, first + e, n] = h[n, e]


@njit(**JIT)
def load_rows(source, column, span, width, rows, ahead) -> None:
    """rows[i, e] = source[b, begin + i, column + e]; asks for the rows of the chunk after (ahead = 1) or before (-1)."""
    b, begin, end = span.sequence, span.begin, span.end
    for t in range(begin, end):
        coming = (b * source.shape[1] + t + ahead * CHUNK) * source.shape[2] + column
        for e in range(0, BLOCK, LINE_BYTES // source.itemsize):
            prefetch(source, coming + e)
        for e in range(width):
            rows[t - begin, e] = source[b, t, column + e]


@njit(**JIT)
def store_rows(rows, span, first, width, target) -> None:
    """target[b, begin + i, first + e] = rows[i, e]."""
    b, begin, end = span.sequence, span.begin, span.end
    for t in range(begin, end):
        for e in range(width):
            target[b, t, first + e] = rows[t - begin, e]


@njit(**JIT)
def find_step_sizes(pre, bias, xs, count, sizes) -> None:
    """Adds the bias to pre (dt before softplus), then dt = softplus(pre) and dt_x = dt xs."""
    ds, du = sizes
    for i in range(count):
        for e in range(BLOCK):
            pre[i, e] += bias[e]
            ds[i, e] = softplus(pre[i, e])
            du[i, e] = ds[i, e] * xs[i, e]


@njit(**JIT)
def _scan_chunk(sequence, span, a, sizes, h, ys):
    """The recurrence over a chunk: h (N, BLOCK) is carried, ys (CHUNK, BLOCK) = sum_n C[n] h[n]."""
    (_, _, B, C), b, lanes = sequence, span.sequence, lane_count(ys)
    for t in range(span.begin, span.end):
        row = (t - span.begin) * BLOCK
        for v in range(0, BLOCK, lanes):
            dt = load(sizes.dt, row + v)
            dt_x = load(sizes.dt_x, row + v)
            y = splat(ys.dtype.type(0))
            for n in range(a.shape[0]):
                offset = n * BLOCK + v
                state = decay(dt * load(a, offset)) * load(h, offset) + dt_x * splat(B[b, t, n])
                store(h, offset, state)
                y += state * splat(C[b, t, n])
            store(ys, row + v, y)


@njit(**JIT)
def _skip_and_gate(skip, has_gate, xs, zs, count, ys):
    """ys becomes (ys + skip xs) silu(zs)."""
    for i in range(count):
        for v in range(0, BLOCK, lane_count(ys)):
            offset = i * BLOCK + v
            y = load(ys, offset) + load(skip, v) * load(xs, offset)
            if has_gate:
                z = load(zs, offset)
                y = y * z * sigmoid(z)
            store(ys, offset, y)


@compiled
def forward(counters, sequence, gate, weights, initial, keep, outputs) -> None:
    """Fills `outputs` from the state `initial` (b, E, N) on; the states at the borders of chunks only if `keep`."""
    x = sequence.x
    batch, steps, channels = x.shape
    num_states = weights.A.shape[1]
    blocks = (channels + BLOCK - 1) // BLOCK
    a = scratch((num_states, BLOCK), x)
    h = scratch((num_states, BLOCK), x)
    xs, pre, zs, ds, du, ys = scratch((6, CHUNK, BLOCK), x)
    bias, skip = scratch((2, BLOCK), x)
    sizes = StepSizes(ds, du)
    for task in tasks(counters, batch * blocks):
        b = task // blocks
        block = task % blocks
        first = block * BLOCK
        width = min(BLOCK, channels - first)
        for rows in (xs, pre, zs):
            rows[:, :] = 0
        bias[:] = 0
        skip[:] = 0
        bias[:width] = weights.dt_bias[first : first + width]
        skip[:width] = weights.D[first : first + width]
        load_rates(weights.A, first, width, a)
        load_states(initial, b, first, width, h)
        for begin in range(0, steps, CHUNK):
            span = Span(b, block, begin, min(begin + CHUNK, steps))
            count = span.end - begin
            if keep:
                outputs.borders[b, block, begin // CHUNK] = h
            load_rows(x, first, span, width, xs, 1)
            load_rows(sequence.dt, first, span, width, pre, 1)
            if gate.present:
                load_rows(gate.z, gate.column + first, span, width, zs, 1)
            find_step_sizes(pre, bias, xs, count, sizes)
            _scan_chunk(sequence, span, a, sizes, h, ys)
            _skip_and_gate(skip, gate.present, xs, zs, count, ys)
            store_rows(ys, span, first, width, outputs.out)
        store_states(h, b, first, width, outputs.last)
