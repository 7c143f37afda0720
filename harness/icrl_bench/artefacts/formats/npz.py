"""One NumPy archive a task: the columns of its history and the task, as plain arrays; nothing in it is pickled.

An archive may come from anywhere: the members that a history has are read and no others, each after its header was compared
with what the archive holds of it, and all of them within an `Allowance`.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np

from icrl_bench.artefacts.formats.allowance import Allowance
from icrl_bench.artefacts.formats.arrays import (
    FORMAT_HINT,
    ForeignHistory,
    columns_of,
    convert_columns,
    task_fields,
    text_of,
)
from icrl_bench.artefacts.histories import COLUMNS, OPTIONAL_COLUMNS
from icrl_registry.contracts import Array, LearningHistory
from icrl_registry.errors import UsageError, refused_by_the_machine

ABOUT = ("parameters", "split", "index", "environment")
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
#: What `zipfile` and NumPy raise for bytes that are no archive, an encrypted one, or no header of an array.
_MALFORMED = (
    *(ValueError, TypeError, AttributeError, NotImplementedError, RuntimeError, SyntaxError, RecursionError),
    tokenize.TokenError,  # a header that doesn't parse is read again as Python 2 wrote them, by its tokens
)


def write(histories: Iterable[LearningHistory], environment: str, folder: Path) -> list[Path]:
    """`train-000.npz`, …: the columns, `parameters`, `split`, `index` and `environment`."""
    written = []
    for history in histories:
        path = folder / f"{history.task.label}.npz"
        arrays = columns_of(history) | {
            "parameters": np.asarray(history.task.parameters, dtype=np.float64),
            "split": np.asarray(history.task.split),
            "index": np.asarray(history.task.index),
            "environment": np.asarray(environment),
        }
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
        written.append(path)
    return written


def read(path: Path) -> ForeignHistory:
    """What one archive holds.

    Raises:
        UsageError: it is no archive of plain arrays, lacks a column, or would unpack to far more than it is.
    """
    try:
        arrays = _read_members(path)
    except (OSError, EOFError, MemoryError, KeyError, zipfile.BadZipFile, zlib.error, *_MALFORMED) as error:
        if isinstance(error, OSError) and (refusal := refused_by_the_machine(error, path)):
            raise refusal from error
        raise UsageError(f"cannot read {path}: {error}", FORMAT_HINT) from error
    said = {name: arrays.pop(name, None) for name in ABOUT}
    environment = None if said["environment"] is None else text_of(said["environment"], str(path))
    fields = task_fields(str(path), said["parameters"], said["split"], said["index"])
    return ForeignHistory(str(path), convert_columns(arrays, str(path)), environment=environment, **fields)


def _read_members(path: Path) -> dict[str, Array]:
    """The arrays that a history has, by name."""
    with zipfile.ZipFile(path) as archive:
        allowance, members = Allowance(path), {member.filename: member for member in archive.infolist()}
        wanted = {name: members.get(f"{name}.npy") for name in (*COLUMNS, *OPTIONAL_COLUMNS, *ABOUT)}
        return {name: _read_member(archive, member, allowance) for name, member in wanted.items() if member}


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, allowance: Allowance) -> Array:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is compressed as numpy never does")
    with archive.open(member) as content:
        shape, dtype = _read_header(content)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds Python objects, which would have to be unpickled")
        wanted, held = math.prod(shape) * dtype.itemsize, member.file_size - content.tell()
        if wanted != held or min(shape, default=0) < 0 or dtype.itemsize == 0:
            raise ValueError(
                f"{member.filename} says {shape} of {dtype}, which is not the {held:,} bytes that it holds"
            )
        allowance.take(wanted)
        content.seek(0)
        array: Array = np.lib.format.read_array(content, allow_pickle=False)
        return array


def _read_header(content: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array in NumPy's own format."""
    version = np.lib.format.read_magic(content)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of numpy's format is for arrays with named fields")
    shape, _, dtype = _HEADERS[version](content)
    return shape, dtype
