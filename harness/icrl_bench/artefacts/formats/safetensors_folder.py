"""A folder of safetensors files, one a task: the columns as tensors, the task in the file's metadata.

`parameters` (a JSON list of numbers), `split`, `index` and `environment` are metadata, which safetensors keeps as text:

    safetensors.numpy.save_file(columns, "task-0.safetensors", metadata={"parameters": "[0.1, 0.2]", "split": "test"})
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from icrl_bench.artefacts.formats.arrays import (
    FORMAT_HINT,
    ForeignHistory,
    columns_of,
    convert_columns,
    task_fields,
    text_of,
)
from icrl_bench.artefacts.tensors import encode_tensors, map_file
from icrl_registry.contracts import LearningHistory
from icrl_registry.errors import DamagedArtefactError, UsageError

SUFFIX = ".safetensors"


def write(histories: Iterable[LearningHistory], environment: str, folder: Path) -> list[Path]:
    """`train-000.safetensors`, …: equal histories give equal bytes."""
    written = []
    for history in histories:
        path = folder / f"{history.task.label}{SUFFIX}"
        path.write_bytes(encode(history, environment))
        written.append(path)
    return written


def encode(history: LearningHistory, environment: str) -> bytes:
    """One file's content: equal histories give equal bytes."""
    task = history.task
    about = {
        "parameters": json.dumps(list(task.parameters)),
        "split": task.split,
        "index": str(task.index),
        "environment": environment,
    }
    return encode_tensors(columns_of(history), about)


def read(path: Path) -> ForeignHistory:
    """What one file holds; its columns are memory-mapped where they need no conversion.

    Raises:
        UsageError: it is no safetensors file, or lacks a column.
    """
    try:
        columns, about = map_file(path)
    except DamagedArtefactError as error:
        raise UsageError(error.message, FORMAT_HINT) from error
    try:
        parameters = json.loads(about["parameters"]) if "parameters" in about else None
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: the metadata `parameters` is no JSON list", FORMAT_HINT) from error
    fields = task_fields(str(path), parameters, about.get("split"), about.get("index"))
    environment = text_of(about["environment"], str(path)) if "environment" in about else None
    return ForeignHistory(str(path), convert_columns(columns, str(path)), environment=environment, **fields)
