"""Named arrays in safetensors files: written through the library, read as memory maps.

The format (huggingface/safetensors, "Format"): 8 bytes little-endian header length, a JSON header with dtype, shape and
byte offsets per name, then the raw little-endian data. The library's NumPy reader copies; mapping the file instead lets
training read histories that are larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from icrl_registry.contracts import Array
from icrl_registry.errors import DamagedArtefactError

_DTYPES = {
    "BOOL": np.bool_, "U8": np.uint8, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64, "U64": np.uint64,
    "F16": np.float16, "F32": np.float32, "F64": np.float64,
}  # fmt: skip


def to_bytes(tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file's content. Equal input gives equal bytes."""
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    return bytes(save(contiguous, metadata=dict(metadata) if metadata else None))


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
            header = json.loads(handle.read(length))
        metadata = header.pop("__metadata__", {})
        return {name: _map(path, 8 + length, entry) for name, entry in header.items()}, metadata
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedArtefactError(
            f"cannot read {path}: {error}", "`icrl-bench data verify --discard-damaged`, then the same run command"
        ) from error


def _map(path: Path, base: int, entry: dict[str, object]) -> Array:
    shape = tuple(int(size) for size in entry["shape"])  # type: ignore[attr-defined]
    dtype = np.dtype(_DTYPES[str(entry["dtype"])])
    start, end = (int(offset) for offset in entry["data_offsets"])  # type: ignore[attr-defined]
    if end - start != dtype.itemsize * int(np.prod(shape)) or path.stat().st_size < base + end:
        raise ValueError("shorter than its header says")
    if end == start:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype=dtype, mode="r", offset=base + start, shape=shape)
