"""Elementwise functions for numba kernels, written so that LLVM turns loops over them into vector instructions.

In float32 the exponential is range reduction to 2**k * 2**f with |f| <= 1/2 and a polynomial for 2**f: relative error
below 2e-7, without a call, a branch or a table. In float64 they are the C library's functions, for exact checks.

The decay of a selective scan, exp(dt * A), needs one exponential for each of B·T·E·N states, so its factor log2(e) is
folded into A beforehand: `decay(dt * (A * decay_scale(A)))`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic, overload

#: Reassociation and fused multiply-add, but infinities and NaN keep their meaning.
FAST = {"reassoc", "contract", "nsz", "arcp"}
JIT: dict[str, Any] = {"fastmath": FAST, "error_model": "numpy", "nogil": True}

_LOG2_E = 1.4426950408889634
_F32 = np.float32
#: 2**f = sum_i _EXP2[i] f**i on [-1/2, 1/2]; minimax in relative error (2e-9 before rounding).
_C1, _C2, _C3 = _F32(0.693147202855057), _F32(0.2402264791339341), _F32(0.05550332470940547)
_C4, _C5, _C6 = _F32(0.009618437393318493), _F32(0.0013398874546464504), _F32(0.00015353350369315746)


@intrinsic  # type: ignore[untyped-decorator]
def _float_from_bits(typing_context: Any, bits: Any) -> Any:
    """Reads an int32 as the float32 with the same bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


@njit(**JIT)  # type: ignore[untyped-decorator]
def _exp2_float32(z: Any) -> Any:
    """2**z; below 2**-126 it returns 2**-126 and above 2**127 it returns 2**127 (both far outside any use here)."""
    z = min(max(z, _F32(-126.0)), _F32(127.0))
    k = np.rint(z)
    f = z - k
    p = _F32(1.0) + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * (_C5 + f * _C6)))))
    return p * _float_from_bits((np.int32(k) + np.int32(127)) << np.int32(23))


def decay(z: Any) -> Any:
    """exp(x) for z = x * decay_scale(x)."""
    raise NotImplementedError("for use inside numba kernels")


def decay_scale(x: Any) -> Any:
    """What to multiply an exponent by before `decay`: log2(e) in float32, 1 in float64."""
    raise NotImplementedError("for use inside numba kernels")


def exponential(x: Any) -> Any:
    """exp(x)."""
    raise NotImplementedError("for use inside numba kernels")


def log1p_unit(x: Any) -> Any:
    """log(1 + x) for x in [0, 1]."""
    raise NotImplementedError("for use inside numba kernels")


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow on either side."""
    raise NotImplementedError("for use inside numba kernels")


def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow on either side."""
    raise NotImplementedError("for use inside numba kernels")


@overload(decay, jit_options=JIT, strict=False)  # type: ignore[untyped-decorator]
def _decay(z: Any) -> Any:
    if z == types.float32:
        return lambda z: _exp2_float32(z)
    return lambda z: math.exp(z)


@overload(decay_scale, jit_options=JIT, strict=False)  # type: ignore[untyped-decorator]
def _decay_scale(x: Any) -> Any:
    if x == types.float32:
        return lambda x: _F32(_LOG2_E)
    return lambda x: 1.0


@overload(exponential, jit_options=JIT, strict=False)  # type: ignore[untyped-decorator]
def _exponential(x: Any) -> Any:
    if x == types.float32:
        return lambda x: _exp2_float32(x * _F32(_LOG2_E))
    return lambda x: math.exp(x)


@overload(log1p_unit, jit_options=JIT, strict=False)  # type: ignore[untyped-decorator]
def _log1p_unit(x: Any) -> Any:
    if x != types.float32:
        return lambda x: math.log1p(x)

    def series(x: Any) -> Any:
        # log(1 + x) = 2 artanh(s), s = x / (2 + x) <= 1/3: seven odd terms leave a relative error of 2e-8.
        s = x / (_F32(2.0) + x)
        q = s * s
        tail = _F32(1 / 9) + q * (_F32(1 / 11) + q * _F32(1 / 13))
        return s * (_F32(2.0) + _F32(2.0) * q * (_F32(1 / 3) + q * (_F32(1 / 5) + q * (_F32(1 / 7) + q * tail))))

    return series


@overload(sigmoid, jit_options=JIT, strict=False)  # type: ignore[untyped-decorator]
def _sigmoid(x: Any) -> Any:
    one = _F32(1.0) if x == types.float32 else np.float64(1.0)

    def stable(x: Any) -> Any:
        e = exponential(-abs(x))
        s = one / (one + e)
        return s if x >= 0 else e * s

    return stable


@overload(softplus, jit_options=JIT, strict=False)  # type: ignore[untyped-decorator]
def _softplus(x: Any) -> Any:
    zero = _F32(0.0) if x == types.float32 else np.float64(0.0)

    def stable(x: Any) -> Any:
        return max(x, zero) + log1p_unit(exponential(-abs(x)))

    return stable
