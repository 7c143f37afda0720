"""Vectors chosen by sign, and how functions of vectors are inlined, for numba kernels."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from icrl_plugins.kernels.vectors import JIT

#: For functions whose arguments or results are vectors: called, they would go through memory.
INLINED: dict[str, Any] = {**JIT, "forceinline": True}


@intrinsic  # type: ignore[untyped-decorator]
def where_positive(typing_context: Any, condition: Any, vector: Any) -> Any:
    """The vector's lanes where those of `condition` are above 0; elsewhere, and where they are NaN, 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros = ir.Constant(arguments[0].type, [0.0] * arguments[0].type.count)
        return builder.select(builder.fcmp_ordered(">", arguments[0], zeros), arguments[1], zeros)

    return vector(condition, vector), generate


@intrinsic  # type: ignore[untyped-decorator]
def ramp(typing_context: Any, vector: Any) -> Any:
    """The rectifier max(x, 0) of every lane; NaN stays NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros = ir.Constant(arguments[0].type, [0.0] * arguments[0].type.count)
        return builder.select(builder.fcmp_ordered("<", arguments[0], zeros), zeros, arguments[0])

    return vector(vector), generate
