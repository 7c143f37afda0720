"""The published form of a run: one JSON file with the run, its aggregates and checksums, in canonical bytes.

Canonical means that a run has exactly one file: keys sorted, one line a field and one line a test task, ASCII only, numbers
in the shortest form that gives the same float64 back. Its schema lies beside this module, one file a form. The checksums find
accidents and careless edits; who wants to deceive can compute them anew, and is found by a rerun.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from icrl_leaderboards.database.schema import LENGTH_TYPE, RETURN_TYPE
from icrl_leaderboards.exchange.aggregates import aggregates
from icrl_leaderboards.runs.record import OPTIONAL, RunRecord

FORMAT = "icrl-bench/run"
#: Form 1 has what every run has. A run with any of the optional fields is written in form 2, or in the form that brought the
#: field, so that older readers say that they are too old rather than that the file is broken; every other run keeps the bytes
#: that it always had.
VERSIONS = (1, 2, 3)
#: The form that brought an optional field, where that is a later one than form 2.
_BROUGHT_BY = {"step_rewards": 3}
FIELDS = ("aggregates", "format", "run", "sha256", "version")
#: Levels below the top that get lines of their own: the document's fields, the run's fields, rows and entries of those.
_EXPANDED = {"run": 2, "aggregates": 1, "sha256": 1}
_LONGEST_NAME = 60


def to_document(run: RunRecord) -> dict[str, Any]:
    """The published form as JSON values."""
    return {
        "format": FORMAT,
        "version": version_of(run),
        "run": run.as_json(),
        "aggregates": aggregates(run),
        "sha256": checksums(run),
    }


def version_of(run: RunRecord) -> int:
    """The form in which a run is written: the oldest that has all its fields."""
    return max((form_of(name) for name in OPTIONAL if getattr(run, name) is not None), default=1)


def form_of(field: str) -> int:
    """The first form that may have a field of the run."""
    return _BROUGHT_BY.get(field, 2) if field in OPTIONAL else 1


def schema_file(version: int) -> str:
    """The file beside this module with the JSON schema of a form."""
    return f"published-run-v{version}.schema.json"


def to_bytes(run: RunRecord) -> bytes:
    """The one file of a run: equal records give equal bytes, unequal ones different bytes."""
    document = to_document(run)
    parts = [f'"{name}": {_write(document[name], _EXPANDED.get(name, 0), 1)}' for name in sorted(document)]
    return ("{\n " + ",\n ".join(parts) + "\n}\n").encode("ascii")


def checksums(run: RunRecord) -> dict[str, str]:
    """sha256 of the raw episodes (shape, float64 returns, int32 lengths, little-endian) and of the whole record."""
    returns = np.array(run.returns, dtype=RETURN_TYPE)  # (K, E)
    lengths = np.array(run.episode_lengths, dtype=LENGTH_TYPE)  # (K, E)
    episodes = hashlib.sha256(f"{returns.shape[0]} {returns.shape[1]}\n".encode())
    episodes.update(returns.tobytes())
    episodes.update(lengths.tobytes())
    return {
        "episodes": episodes.hexdigest(),
        "run": hashlib.sha256(_compact(run.as_json()).encode("ascii")).hexdigest(),
    }


def file_name(run: RunRecord) -> PurePosixPath:
    """Where a run's file lies below the folder of published runs: `PROTOCOL/ENVIRONMENT-METHOD-seedN-RUN.json`."""
    names = (run.environment, run.method, f"seed{run.seed}", run.run_id)
    return PurePosixPath(safe_name(run.protocol)) / ("-".join(safe_name(name) for name in names) + ".json")


def safe_name(name: str) -> str:
    """A name as a piece of a file name on any system; one that had to change carries a digest, so that names stay apart."""
    kept = re.sub(r"[^A-Za-z0-9._+-]", "_", name[:_LONGEST_NAME]).lstrip(".-")
    if kept and kept == name:
        return name
    return f"{kept[:40]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _write(value: Any, expanded: int, depth: int) -> str:
    """JSON with sorted keys; containers get one line an entry for `expanded` levels and stand on one line below that."""
    if not expanded or not isinstance(value, dict | list) or not value:
        return _compact(value)
    indent = "\n" + " " * (depth + 1)
    if isinstance(value, list):
        entries = [_write(entry, expanded - 1, depth + 1) for entry in value]
        return "[" + indent + f",{indent}".join(entries) + "\n" + " " * depth + "]"
    entries = [f"{json.dumps(key)}: {_write(value[key], expanded - 1, depth + 1)}" for key in sorted(value)]
    return "{" + indent + f",{indent}".join(entries) + "\n" + " " * depth + "}"


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
