"""Named arrays in safetensors files: written so that equal input gives equal bytes, read as memory maps.

The format (huggingface/safetensors, "Format"): 8 bytes little-endian header length, a JSON header with dtype, shape and
byte offsets per name, then the raw little-endian data. The library's writer puts metadata in random order, and its NumPy
reader copies; mapping the file instead lets training read histories that are larger than memory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from icrl_registry.contracts import Array
from icrl_registry.errors import DamagedArtefactError, PluginError, refused_by_the_machine

_DTYPES = {  # in the order in which the library stores them: large items first, so that all are aligned
    "U64": np.uint64, "I64": np.int64, "F64": np.float64, "F32": np.float32, "U32": np.uint32, "I32": np.int32,
    "F16": np.float16, "U16": np.uint16, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_RANKS = {dtype: rank for rank, dtype in enumerate(_NAMES)}
_ALIGNMENT = 8


def encode_tensors(tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file's content. Equal input gives equal bytes: those of the library, with sorted metadata.

    Raises:
        PluginError: an array of a type that the format does not have.
    """
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    arrays = {name: _little_endian(name, array) for name, array in tensors.items()}
    parts, offset = [], 0
    for name in sorted(arrays, key=lambda name: (_RANKS[arrays[name].dtype], name)):
        array = arrays[name]
        ends = [offset, offset + array.nbytes]
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": ends}
        parts.append(array.tobytes())
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _little_endian(name: str, value: Array) -> Array:
    array = np.asarray(value, order="C")
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype not in _NAMES:
        raise PluginError(
            f"tensor {name} is {array.dtype}, which a safetensors file cannot hold",
            "store booleans, integers or floats",
        )
    return array


def map_file(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Read-only memory maps by name, and the metadata.

    Raises:
        DamagedArtefactError: not a safetensors file, or shorter than its header says.
    """
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if not 0 < length < 100_000_000:
                raise ValueError("no safetensors header")
            text = handle.read(length)
        if len(text) != length:
            raise ValueError("shorter than its header")
        header = json.loads(text)
        metadata = dict(header.pop("__metadata__", {}))
        content = np.memmap(path, dtype=np.uint8, mode="r")  # one for all tensors: each map holds a file open
        return {name: _tensor(content, 8 + length, entry) for name, entry in header.items()}, metadata
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, OSError) and (refusal := refused_by_the_machine(error, path)):
            raise refusal from error
        raise DamagedArtefactError(
            f"cannot read {path}: {error}", "`icrl-bench data verify --discard-damaged`, then the same run command"
        ) from error


def _tensor(content: Array, base: int, entry: dict[str, object]) -> Array:
    """The part of a file's bytes that a header's entry describes."""
    shape = tuple(int(size) for size in entry["shape"])  # type: ignore[attr-defined]
    dtype = np.dtype(_DTYPES[str(entry["dtype"])])
    start, end = (int(offset) for offset in entry["data_offsets"])  # type: ignore[attr-defined]
    if min((start, *shape)) < 0 or end - start != dtype.itemsize * math.prod(shape) or content.size < base + end:
        raise ValueError("shorter than its header says")
    if end == start:
        return np.zeros(shape, dtype)
    array: Array = content[base + start : base + end].view(dtype).reshape(shape)
    return array
