"""Scratch memory of kernels that begins at a cache line.

Numba's arrays begin at a multiple of 32 bytes. In ten of twenty processes every vector of 64 bytes lay across two lines of
the cache, and the scan's backward took 1.24 times as long (128 tokens, one thread of AMD's Zen 5).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from icrl_plugins.kernels.runtime.vectors import JIT
from icrl_registry.contracts import Array

LINE_BYTES = 64  # of a cache line, and of a vector


@intrinsic
def scratch(typing_context: Any, shape: Any, like: Any) -> Any:
    """An uninitialised C-contiguous array of the dtype of `like`, freed with its last view: `np.empty`, aligned."""
    kind = types.Array(like.dtype, shape.count, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(kind)(context, builder)
        integer = context.get_value_type(types.intp)
        lengths = [
            context.cast(builder, length, given, types.intp)
            for length, given in zip(cgutils.unpack_tuple(builder, arguments[0]), signature.args[0], strict=True)
        ]
        sizes = [ir.Constant(integer, kind.dtype.bitwidth // 8)]  # of an element, of a row of them, …, of all
        for length in reversed(lengths):
            sizes.append(builder.mul(sizes[-1], length))
        owner = context.nrt.meminfo_alloc_aligned(builder, size=sizes[-1], align=LINE_BYTES)
        populate_array(
            array,
            data=builder.bitcast(context.nrt.meminfo_data(builder, owner), array.data.type),
            shape=cgutils.pack_array(builder, lengths, ty=integer),
            strides=cgutils.pack_array(builder, sizes[-2::-1], ty=integer),
            itemsize=sizes[0],
            meminfo=owner,
        )
        return array._getvalue()

    return kind(shape, like), generate


@njit(**JIT)
def zeros(shape, like) -> Array:
    """The same, filled with zeros."""
    array = scratch(shape, like)
    array.fill(0)
    return array
