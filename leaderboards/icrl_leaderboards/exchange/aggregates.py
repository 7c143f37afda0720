"""What a published file says of its run in a few numbers, so that a reader can compare and a changed episode shows.

Sums are rounded once (`math.fsum`), so the same returns give the same digits on every machine, whatever its NumPy does.
The definitions are those of `statistics`; a test holds both together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from icrl_leaderboards.analysis.statistics import last_count, normalised_scores
from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.runs.scores import with_nan

MEASURES = ("area_under_curve", "first_episode", "improvement", "last_episodes", "normalised_score")


def aggregates(run: RunRecord) -> dict[str, Any]:
    """Each measure per test task, (K,), and its mean over them; a task without a scale has no normalised score (None)."""
    last = [_mean(row[-last_count(len(row)) :]) for row in run.returns]
    first = [row[0] for row in run.returns]
    scores, flagged = normalised_scores(np.array(last), np.array(run.random), with_nan(run.oracle, len(last)))
    measures: dict[str, list[float | None]] = {
        "first_episode": [*first],
        "last_episodes": [*last],
        "improvement": [end - begin for begin, end in zip(first, last, strict=True)],
        "area_under_curve": [_mean(row) for row in run.returns],
        "normalised_score": [None if missing else float(score) for score, missing in zip(scores, flagged, strict=True)],
    }
    found: dict[str, Any] = {}
    for name, values in measures.items():
        known = [value for value in values if value is not None]
        found[name] = {"mean": _mean(known) if known else None, "tasks": values}
    return found


def differing(stated: Any, computed: dict[str, Any]) -> str | None:
    """The first aggregate in which a file differs from what its episodes give, in words; None if there is none."""
    if not isinstance(stated, dict) or sorted(stated) != sorted(computed):
        return f"expected the aggregates {', '.join(computed)}"
    for name, values in computed.items():
        entry = stated[name]
        if not isinstance(entry, dict) or sorted(entry) != ["mean", "tasks"]:
            return f"{name} needs mean and tasks"
        tasks = entry["tasks"]
        if not isinstance(tasks, list) or len(tasks) != len(values["tasks"]):
            return f"{name}.tasks needs {len(values['tasks'])} entries"
        for index, (said, value) in enumerate(zip(tasks, values["tasks"], strict=True)):
            if not _equal(said, value):
                return f"{name}.tasks[{index}]: the file says {said!r}, its episodes give {value!r}"
        if not _equal(entry["mean"], values["mean"]):
            return f"{name}.mean: the file says {entry['mean']!r}, its episodes give {values['mean']!r}"
    return None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _equal(stated: Any, computed: float | None) -> bool:
    if stated is None or computed is None:
        return stated is computed
    return isinstance(stated, int | float) and not isinstance(stated, bool) and stated == computed
