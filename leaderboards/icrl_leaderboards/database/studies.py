"""Studies: named grids of runs, such as one method at several context lengths.

A study says which runs it asks for and by which settings they differ; the runs stand in the leaderboard like any other. So
`leaderboard.scores(run_ids=study.run_ids)` are its results as far as they are there, and `cells` puts them in order.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from icrl_leaderboards.database.schema import StudyRow, StudyRunRow
from icrl_leaderboards.runs.record import format_value
from icrl_leaderboards.runs.scores import RunScores
from icrl_leaderboards.runs.types import LONGEST_KEY
from icrl_registry.errors import UsageError


@dataclass(frozen=True)
class StudyRun:
    """One run that a study asks for."""

    run_id: str
    seed: int
    settings: dict[str, Any]  # dotted key → value as it was typed, one entry per axis
    error: str | None = None  # why the last attempt failed; a run that was recorded later counts all the same


@dataclass(frozen=True)
class Study:
    """A grid: the values of each axis, and the run of every combination and seed."""

    name: str
    method: str
    environment: str  # versioned id
    protocol: str  # as asked for; a cell that varies the protocol's own settings has a label of its own
    track: str
    axes: dict[str, list[Any]]  # dotted key, such as "method.context_length" → values, in the order given
    runs: list[StudyRun]
    created_at: str  # ISO 8601, UTC

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= LONGEST_KEY:
            raise UsageError(f"a study's name has {len(self.name)} characters", f"give it 1 to {LONGEST_KEY}")

    @property
    def run_ids(self) -> list[str]:
        """The ids of all its runs, whether they are recorded yet or not."""
        return [run.run_id for run in self.runs]


@dataclass(frozen=True)
class StudyCell:
    """One combination of settings with what is recorded of it."""

    settings: dict[str, Any]
    runs: list[StudyRun]
    scores: list[RunScores] = field(default_factory=list)  # by seed; fewer than `runs` where some are missing

    @property
    def label(self) -> str:
        """The settings in one line, as `--set` takes them."""
        return ", ".join(f"{key}={format_value(value)}" for key, value in self.settings.items())


def cells(study: Study, scores: Sequence[RunScores]) -> list[StudyCell]:
    """The study's cells in the order of the grid, each with those of `scores` that belong to it."""
    by_id = {score.run_id: score for score in scores}
    grouped: dict[str, list[StudyRun]] = defaultdict(list)
    for run in study.runs:
        grouped[json.dumps(run.settings, sort_keys=True)].append(run)
    return [
        StudyCell(
            settings=runs[0].settings,
            runs=runs,
            scores=sorted((by_id[run.run_id] for run in runs if run.run_id in by_id), key=lambda each: each.seed),
        )
        for runs in grouped.values()
    ]


# --- In the database ---------------------------------------------------------------------------------------------------

_FIELDS = ("name", "method", "environment", "protocol", "track", "created_at")
_RUN_FIELDS = ("run_id", "seed", "settings", "error")


def write_study(connection: Connection, study: Study) -> None:
    """Inserts a study, in the place of one of the same name."""
    connection.execute(delete(StudyRow).where(StudyRow.name == study.name))
    values = {name: getattr(study, name) for name in _FIELDS}
    axes = [[key, list(members)] for key, members in study.axes.items()]
    key = connection.execute(insert(StudyRow).values(axes=axes, **values)).inserted_primary_key
    assert key is not None
    rows = [
        {"study": key[0], "position": position, **{name: getattr(run, name) for name in _RUN_FIELDS}}
        for position, run in enumerate(study.runs)
    ]
    if rows:
        connection.execute(insert(StudyRunRow), rows)


def load_studies(connection: Connection, name: str | None) -> list[Study]:
    """All studies by name, or the one of that name."""
    table, members = StudyRow.__table__, StudyRunRow.__table__
    chosen = select(table).order_by(table.c.name)
    wanted = select(members).order_by(members.c.study, members.c.position)
    if name is not None:
        chosen = chosen.where(table.c.name == name)
        wanted = wanted.join(table, table.c.key == members.c.study).where(table.c.name == name)
    runs: dict[int, list[StudyRun]] = defaultdict(list)
    for row in connection.execute(wanted):
        runs[row.study].append(StudyRun(**{column: getattr(row, column) for column in _RUN_FIELDS}))
    return [
        Study(
            axes=dict(row.axes),
            runs=runs[row.key],
            **{column: getattr(row, column) for column in _FIELDS},
        )
        for row in connection.execute(chosen)
    ]
