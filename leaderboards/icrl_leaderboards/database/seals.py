"""Checksums of a run as it was recorded: a database keeps none, and a changed digit of a return would be a result.

Tables and plots read a part of a run and records all of it, so a run has two: one of its scores and one of the whole record.
They find what a disk, a copy or an editor changed; who wants to deceive can compute them anew, and is found by a rerun.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from icrl_leaderboards.database.schema import LENGTH_TYPE, RETURN_TYPE
from icrl_leaderboards.runs.record import HEAD_FIELDS, REFERENCES, RunRecord
from icrl_leaderboards.runs.scores import RunScores
from icrl_registry.errors import DamagedArtefactError

if TYPE_CHECKING:
    from hashlib import _Hash

#: The fields of a record that are hashed as arrays: as text they would take most of the time.
_ARRAYS: dict[str, np.dtype[Any]] = {"returns": RETURN_TYPE, "episode_lengths": LENGTH_TYPE, "success": RETURN_TYPE}
#: Fields that the database holds as doubles, so that whole numbers come back as such.
_DOUBLES = ("seconds", "diagnostics")


def seal_scores(scores: RunScores) -> str:
    """sha256 of all that tables and plots see of a run."""
    head = {name: getattr(scores, name) for name in HEAD_FIELDS}
    sealed = _hashed({**head, "plugins": scores.plugins, "task_labels": scores.task_labels})
    sealed.update(f"{scores.returns.shape}".encode() + scores.returns.astype(RETURN_TYPE).tobytes())
    for name in REFERENCES:
        known = scores.references[name].astype(RETURN_TYPE)
        sealed.update(
            np.where(np.isnan(known), np.inf, known).tobytes()
        )  # a NaN has many forms, and nothing is infinite
    return sealed.hexdigest()


def seal_record(record: RunRecord) -> str:
    """sha256 of a whole record."""
    document = {name: value for name, value in record.as_json().items() if name not in (*_ARRAYS, *REFERENCES)}
    sealed = _hashed({**document, "scores": seal_scores(RunScores.from_record(record))})
    for name, dtype in _ARRAYS.items():
        values = getattr(record, name)
        sealed.update(name.encode() + (b"" if values is None else np.array(values, dtype=dtype).tobytes()))
    return sealed.hexdigest()


def require_seal(found: str, recorded: str | None, run_id: str) -> None:
    """Refuses a run whose checksum is not that which it was recorded with; None: by an older version, which kept none.

    Raises:
        DamagedArtefactError: with how to get rid of the run and record it anew.
    """
    if recorded is not None and found != recorded:
        hint = f"`icrl-bench leaderboard rm {run_id}`; the same run command records it again"
        raise DamagedArtefactError(f"the leaderboard is damaged: run {run_id} differs from its checksum", hint)


def _hashed(document: dict[str, Any]) -> _Hash:
    doubles = {
        name: {key: float(each) for key, each in document[name].items()} for name in _DOUBLES if name in document
    }
    text = json.dumps({**document, **doubles}, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode())
