"""One NumPy archive a task: the columns of its history and the task, as plain arrays; nothing in it is pickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from icrl_bench.artefacts.formats.arrays import (
    FORMAT_HINT,
    ForeignHistory,
    columns_of,
    convert_columns,
    task_fields,
)
from icrl_registry.contracts import LearningHistory
from icrl_registry.errors import UsageError, refused_by_the_machine


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
        UsageError: it is no archive of arrays, or lacks a column.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, MemoryError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, OSError) and (refusal := refused_by_the_machine(error, path)):
            raise refusal from error
        raise UsageError(f"cannot read {path}: {error}", FORMAT_HINT) from error
    except (AttributeError, TypeError, NotImplementedError, RuntimeError) as error:  # no archive, or an encrypted one
        raise UsageError(f"{path} is no NumPy archive: {error}", FORMAT_HINT) from error
    said = {name: arrays.pop(name, None) for name in ("parameters", "split", "index", "environment")}
    environment = None if said["environment"] is None else str(said["environment"])
    fields = task_fields(str(path), said["parameters"], said["split"], said["index"])
    return ForeignHistory(str(path), convert_columns(arrays, str(path)), environment=environment, **fields)
