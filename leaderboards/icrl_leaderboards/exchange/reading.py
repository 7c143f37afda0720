"""Reading somebody else's file of a run: bounded in size and depth, plain JSON, known fields, finite numbers, checked sums.

A file may come from anywhere. Nothing in it is executed, no name in it becomes a path, and whatever is wrong with it is said
with the file's name and the place.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icrl_leaderboards.exchange.aggregates import aggregates, differing
from icrl_leaderboards.exchange.document import FIELDS, FORMAT, VERSIONS, checksums, to_bytes
from icrl_leaderboards.runs.record import RunRecord
from icrl_registry.errors import EXIT_VERIFICATION, BenchError

LARGEST_FILE = 32 * 2**20  # bytes; a run of 100 tasks and 1,000 episodes takes 3 MiB
DEEPEST = 72  # brackets within brackets; a record's own settings may have 64
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_HINT = "`icrl-bench leaderboard submit` writes such files"


class PublishedRunError(BenchError):
    """A file is not the published form of a run; the message names the file and the place."""

    kind = "invalid_file"
    exit_code = EXIT_VERIFICATION


@dataclass(frozen=True)
class PublishedRun:
    """A file that has the form of a run; whether its sums are right is said by `mismatches`."""

    path: Path
    data: bytes
    document: dict[str, Any]
    record: RunRecord

    def mismatches(self) -> dict[str, str | None]:
        """By check (aggregates, checksums, form): what is wrong, in words, or None."""
        stated, computed = self.document["sha256"], checksums(self.record)
        wrong = [name for name in computed if not isinstance(stated, dict) or stated.get(name) != computed[name]]
        words = {"episodes": "the episodes differ from their sha256", "run": "the run differs from its sha256"}
        return {
            "aggregates": differing(self.document["aggregates"], aggregates(self.record)),
            "checksums": "; ".join(words[name] for name in wrong) or None,
            "form": _first_difference(self.data, to_bytes(self.record)),
        }


def read_published(path: Path) -> PublishedRun:
    """A run from its file.

    Raises:
        PublishedRunError: unreadable, too large or too deep, not JSON, of a newer version, an unknown or missing field, a
            value of the wrong type, shape or range, a number that is not finite.
    """
    data = _read(path)
    document = _parse(path, data)
    try:
        record = RunRecord.from_json(document["run"])
    except BenchError as error:
        raise PublishedRunError(f"{path}: {error.message}", error.hint) from error
    return PublishedRun(path, data, document, record)


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise PublishedRunError(f"{path} is not a file", "name a .json file of a run, or a folder of them")
        with path.open("rb") as handle:
            data = handle.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # a NUL in a name is a ValueError
        raise PublishedRunError(f"cannot read {path}: {error}", "check the file's name and permissions") from error
    if len(data) > LARGEST_FILE:
        raise PublishedRunError(f"{path} is larger than {LARGEST_FILE // 2**20} MiB", "no run's file is that large")
    return data


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    if _depth(data) > DEEPEST:
        raise PublishedRunError(f"{path} is nested more than {DEEPEST} levels deep", _HINT)
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # JSON, UTF-8 and integers of thousands of digits are all ValueErrors
        raise PublishedRunError(f"{path} is not a run in JSON: {error}", _HINT) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise PublishedRunError(f"{path} does not call itself {FORMAT!r}", _HINT)
    version = document.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSIONS[-1]:
        message = f"{path} was written by a newer icrl-bench (form {version}; this one reads up to {VERSIONS[-1]})"
        raise PublishedRunError(message, "pip install --upgrade icrl-bench")
    if isinstance(version, bool | float) or version not in VERSIONS:
        raise PublishedRunError(f"{path} has the form {version!r}, which never was", _HINT)
    unknown, missing = sorted(set(document) - set(FIELDS)), sorted(set(FIELDS) - set(document))
    if unknown or missing:
        problem = f"unknown field {unknown[0]!r}" if unknown else f"the field {missing[0]!r} is missing"
        raise PublishedRunError(f"{path}: {problem}", f"expected exactly {', '.join(FIELDS)}")
    if not isinstance(document["run"], dict):
        raise PublishedRunError(f"{path}: run is {type(document['run']).__name__}", "expected an object")
    return document


def _depth(data: bytes) -> int:
    """How deep the brackets outside of strings are nested; counted before parsing, since a parser recurses."""
    codes = np.frombuffer(_STRING.sub(b"", data), dtype=np.uint8)
    opened = (codes == ord("[")) | (codes == ord("{"))
    closed = (codes == ord("]")) | (codes == ord("}"))
    steps = opened.astype(np.int32) - closed
    return int(np.cumsum(steps).max(initial=0))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice!r} stands there twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no finite number")


def _first_difference(data: bytes, canonical: bytes) -> str | None:
    if data == canonical:
        return None
    given, expected = data.split(b"\n"), canonical.split(b"\n")
    pairs = zip(given, expected, strict=False)
    line = next((index for index, (a, b) in enumerate(pairs, 1) if a != b), min(len(given), len(expected)) + 1)
    return f"line {line} is not as `icrl-bench leaderboard submit` writes it"
