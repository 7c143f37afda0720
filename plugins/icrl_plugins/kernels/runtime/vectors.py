"""Vectors and elementwise functions for numba kernels.

A `Vector` holds `LANES` float32 (or half as many float64) in processor registers: kernels load it from an array, compute
with `+`, `-`, `*` and `/`, and store it. LLVM maps it to whatever the machine has. Loops over arrays alone would leave the
vectorisation to LLVM's proof that no two arrays overlap, which it gives up where a loop touches more than a few.

`decay` and `sigmoid` take scalars and vectors; `exponential` and `softplus` take scalars, and loops over them vectorise by
themselves. In float32 the exponential is range reduction to 2**k * 2**f with |f| <= 1/2 and a polynomial for 2**f:
relative error below 2e-7, without a call, a branch or a table. In float64 it is the C library's, for exact checks.

The decay of a selective scan, exp(dt * A), needs one exponential for each of B·T·E·N states, so its factor log2(e) is
folded into A beforehand: `decay(dt * (A * decay_scale(A)))`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

#: Fused multiply-add, and no more. Leave to reorder sums is used anew each time that a function is optimised, and a function
#: that kernels share is optimised once more in what the cache keeps of them than in the process that compiles them: the
#: process that fills the cache would compute other last bits than all later ones.
FLAGS = ("contract",)
JIT: dict[str, Any] = {"fastmath": set(FLAGS), "error_model": "numpy", "nogil": True}
#: For functions whose arguments or results are vectors, which would go through memory in a call, and small inner ones.
INLINED: dict[str, Any] = {**JIT, "forceinline": True}

LANES = 16
#: How many vectors the processor's registers hold: 32 with AVX-512; 8 with AVX2 or NEON, whose registers are shorter.
VECTOR_REGISTERS = 32 if get_host_cpu_features().get("avx512f") else 8
_F32 = np.float32
_LOG2_E = 1.4426950408889634
#: 2**f = 1 + sum_i _EXP2[i] f**(i + 1) on [-1/2, 1/2]: minimax in relative error, 2e-9 before rounding.
_EXP2 = (
    0.693147202855057,
    0.2402264791339341,
    0.05550332470940547,
    0.009618437393318493,
    0.0013398874546464504,
    0.00015353350369315746,
)


class Vector(types.Type):
    """Numba's type of a vector with elements of `dtype`."""

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        self.lanes = LANES if dtype == types.float32 else LANES // 2
        super().__init__(name=f"Vector({dtype}, {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        element = ir.FloatType() if vector.dtype == types.float32 else ir.DoubleType()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


def _address(context: Any, builder: Any, signature: Any, arguments: Any, vector: Vector) -> tuple[Any, int]:
    """Where element `index` of a C-contiguous array lies, as a pointer to a vector, and its guaranteed alignment."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    pointer = builder.gep(array.data, [arguments[1]])
    return builder.bitcast(pointer, context.get_value_type(vector).as_pointer()), vector.dtype.bitwidth // 8


@intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """The vector that begins at flat index `index` of a C-contiguous array."""
    vector = Vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, alignment = _address(context, builder, signature, arguments, vector)
        return builder.load(pointer, align=alignment)

    return vector(array, types.intp), generate


@intrinsic
def store(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    """Writes a vector at flat index `index` of a C-contiguous array and on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, alignment = _address(context, builder, signature, arguments, vector)
        builder.store(arguments[2], pointer, align=alignment)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Asks for the cache line of flat index `index` of a C-contiguous array; any index is harmless."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        own = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte, integer = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.bitcast(builder.gep(own.data, [arguments[1]]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, integer, integer, integer])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        to_read, keep, data = (ir.Constant(integer, value) for value in (0, 3, 1))
        builder.call(function, [address, to_read, keep, data])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


def _in_every_lane(builder: Any, element: Any, kind: Any) -> Any:
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, element, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(first, undefined, zeros)


@intrinsic
def splat(typing_context: Any, scalar: Any) -> Any:
    """A vector with the scalar in every lane."""
    vector = Vector(scalar)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _in_every_lane(builder, arguments[0], context.get_value_type(vector))

    return vector(scalar), generate


@intrinsic
def spread(typing_context: Any, array: Any, index: Any) -> Any:
    """A vector with the element at flat index `index`, from 0 on, of a C-contiguous array in every lane."""
    vector = Vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        own = context.make_array(signature.args[0])(context, builder, arguments[0])
        element = builder.load(builder.gep(own.data, [arguments[1]]))
        return _in_every_lane(builder, element, context.get_value_type(vector))

    return vector(array, types.intp), generate


@intrinsic
def lane_sum(typing_context: Any, vector: Any) -> Any:
    """The sum over the lanes, in an order that the machine fixes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        name = f"llvm.vector.reduce.fadd.{_suffix(kind)}"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind.element, [kind.element, kind]), name
        )
        return builder.call(function, [ir.Constant(kind.element, 0.0), arguments[0]], fastmath=("reassoc",))

    return vector.dtype(vector), generate


@intrinsic
def where_positive(typing_context: Any, condition: Any, vector: Any) -> Any:
    """The vector's lanes where those of `condition` are above 0; elsewhere, and where they are NaN, 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros = ir.Constant(arguments[0].type, [0.0] * arguments[0].type.count)
        return builder.select(builder.fcmp_ordered(">", arguments[0], zeros), arguments[1], zeros)

    return vector(condition, vector), generate


@intrinsic
def relu(typing_context: Any, vector: Any) -> Any:
    """The rectifier max(x, 0) of every lane; NaN stays NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros = ir.Constant(arguments[0].type, [0.0] * arguments[0].type.count)
        return builder.select(builder.fcmp_ordered("<", arguments[0], zeros), zeros, arguments[0])

    return vector(vector), generate


@intrinsic
def maximum(typing_context: Any, first: Any, second: Any) -> Any:
    """The larger one in every lane; where one of them is NaN, the first."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *arguments), arguments[1], arguments[0])

    return first(first, second), generate


def _elementwise(instruction: str, *operators: Callable[..., Any]) -> None:
    """Gives vectors the operators by one instruction of LLVM's."""

    @intrinsic
    def combine(typing_context: Any, first: Any, second: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments, flags=FLAGS)

        return first(first, second), generate

    def choose(first: Any, second: Any) -> Any:
        if isinstance(first, Vector) and isinstance(second, Vector):
            return lambda first, second: combine(first, second)
        return None

    for symbol in operators:
        overload(symbol, strict=False)(choose)


_elementwise("fadd", operator.add, operator.iadd)
_elementwise("fsub", operator.sub, operator.isub)
_elementwise("fmul", operator.mul, operator.imul)
_elementwise("fdiv", operator.truediv, operator.itruediv)


def _suffix(kind: Any) -> str:
    """How LLVM's intrinsics name a float type: f32, v16f32, …"""
    element = kind.element if isinstance(kind, ir.VectorType) else kind
    count = f"v{kind.count}" if isinstance(kind, ir.VectorType) else ""
    return count + ("f32" if isinstance(element, ir.FloatType) else "f64")


def _emit_exp2(builder: Any, z: Any) -> Any:
    """2**z in float32, scalar or vector; z is clamped to [-126, 127], far outside any use here."""
    kind = z.type
    is_vector = isinstance(kind, ir.VectorType)
    integer = ir.VectorType(ir.IntType(32), kind.count) if is_vector else ir.IntType(32)

    def constant(of: Any, value: Any) -> Any:
        return ir.Constant(of, [value] * kind.count if is_vector else value)

    def number(value: float) -> Any:
        return constant(kind, float(_F32(value)))

    z = builder.select(builder.fcmp_ordered("<", z, number(-126.0)), number(-126.0), z)
    z = builder.select(builder.fcmp_ordered(">", z, number(127.0)), number(127.0), z)
    round_to_even = f"llvm.nearbyint.{_suffix(kind)}"
    k = builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), round_to_even), [z])
    f = builder.fsub(z, k, flags=FLAGS)
    polynomial = number(_EXP2[-1])
    for coefficient in (*reversed(_EXP2[:-1]), 1.0):
        product = builder.fmul(polynomial, f, flags=FLAGS)
        polynomial = builder.fadd(product, number(coefficient), flags=FLAGS)
    exponent = builder.shl(builder.fptosi(k, integer), constant(integer, 23))
    return builder.bitcast(builder.add(builder.bitcast(polynomial, integer), exponent), kind)


@intrinsic
def decay(typing_context: Any, z: Any) -> Any:
    """exp(x) for z = x * decay_scale(x), a scalar or a vector."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        if _suffix(kind).endswith("f32"):
            return _emit_exp2(builder, arguments[0])
        function = ir.FunctionType(kind, [kind])
        exact = cgutils.get_or_insert_function(builder.module, function, f"llvm.exp.{_suffix(kind)}")
        return builder.call(exact, arguments)

    return z(z), generate


def decay_scale(x: Any) -> Any:
    """What to multiply an exponent by before `decay`: log2(e) in float32, 1 in float64."""
    raise NotImplementedError("for use inside numba kernels")


def exponential(x: Any) -> Any:
    """exp(x)."""
    raise NotImplementedError("for use inside numba kernels")


def log1p_unit(x: Any) -> Any:
    """log(1 + x) for x in [0, 1]."""
    raise NotImplementedError("for use inside numba kernels")


def lane_count(array: Any) -> Any:
    """How many elements of `array` a vector holds."""
    raise NotImplementedError("for use inside numba kernels")


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), a scalar or a vector; the exponential is bounded or becomes infinite, so neither side is NaN."""
    raise NotImplementedError("for use inside numba kernels")


def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow on either side."""
    raise NotImplementedError("for use inside numba kernels")


@overload(decay_scale, jit_options=JIT, strict=False)
def _decay_scale(x: Any) -> Any:
    scale = _F32(_LOG2_E) if x == types.float32 else np.float64(1.0)
    return lambda x: scale


@overload(lane_count, jit_options=JIT, strict=False)
def _lane_count(array: Any) -> Any:
    lanes = Vector(array.dtype).lanes
    return lambda array: lanes


@overload(exponential, jit_options=JIT, strict=False)
def _exponential(x: Any) -> Any:
    return lambda x: decay(x * decay_scale(x))


@overload(log1p_unit, jit_options=JIT, strict=False)
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


@overload(sigmoid, jit_options=JIT, strict=False)
def _sigmoid(x: Any) -> Any:
    number = x.dtype if isinstance(x, Vector) else x
    one, scale = (_F32(1.0), _F32(-_LOG2_E)) if number == types.float32 else (np.float64(1.0), np.float64(-1.0))
    if isinstance(x, Vector):
        return lambda x: splat(one) / (splat(one) + decay(x * splat(scale)))
    return lambda x: one / (one + decay(x * scale))


@overload(softplus, jit_options=JIT, strict=False)
def _softplus(x: Any) -> Any:
    zero = _F32(0.0) if x == types.float32 else np.float64(0.0)

    def stable(x: Any) -> Any:
        return max(x, zero) + log1p_unit(exponential(-abs(x)))

    return stable
