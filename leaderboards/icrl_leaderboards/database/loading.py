"""Reading runs in bulk: one query per table whatever the number of runs, and all episodes through one buffer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import MISSING, fields
from itertools import accumulate
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, LargeBinary, Row, Select, select, type_coerce

from icrl_leaderboards.database.schema import (
    ARTEFACT_FIELDS,
    EPISODE_FIELDS,
    NAMED_FIELDS,
    RUN_FIELDS,
    TASK_FIELDS,
    ArtefactRow,
    Base,
    EpisodesRow,
    PackedArray,
    PluginRow,
    RunRow,
    StageRow,
    TaskRow,
)
from icrl_leaderboards.database.seals import require_seal, seal_record, seal_scores
from icrl_leaderboards.runs.record import HEAD_FIELDS, REFERENCES, PluginUse, RunRecord
from icrl_leaderboards.runs.scores import RunScores, with_nan
from icrl_registry.arrays import Float64Array
from icrl_registry.errors import BenchError, DamagedArtefactError

Conditions = Sequence[ColumnElement[bool]]
DAMAGED_HINT = "move the leaderboard aside; the same run commands record their rows again"

_HEAD_COLUMNS = tuple(name for name in HEAD_FIELDS if name in RUN_FIELDS)
#: Fields of `TASK_FIELDS` that a run has for all its tasks or for none.
_ALL_OR_NONE = tuple(
    each.name
    for each in fields(RunRecord)
    if each.name in TASK_FIELDS and (each.default, each.default_factory) != (MISSING, MISSING)
)


def load_scores(connection: Connection, conditions: Conditions) -> list[RunScores]:
    """The scores of the runs that meet all `conditions`, in the order of their run ids.

    Raises:
        DamagedArtefactError: rows are missing, or a run is not as it was recorded.
    """
    runs = _select_runs(connection, conditions, (*_HEAD_COLUMNS, "scores_sha256"))
    tasks = _tasks(connection, runs, conditions, ("label", *REFERENCES))
    returns = _episodes(connection, runs, conditions, "returns")
    seconds = _pairs(connection, StageRow, "seconds", conditions)
    plugins = _plugins(connection, conditions)
    found = [
        RunScores(
            **{name: getattr(run, name) for name in _HEAD_COLUMNS},
            seconds=seconds[run.key],
            plugins=tuple(sorted(use.digest for use in plugins[run.key])),
            task_labels=tuple(tasks[run.key]["label"]),
            returns=returns[run.key],
            references={name: with_nan(tasks[run.key][name], run.num_tasks) for name in REFERENCES},
        )
        for run in runs
    ]
    for run, scores in zip(runs, found, strict=True):
        require_seal(seal_scores(scores), run.scores_sha256, run.run_id)
    return found


def load_records(connection: Connection, conditions: Conditions) -> list[RunRecord]:
    """The records of the runs that meet all `conditions`, in the order of their run ids.

    Raises:
        DamagedArtefactError: rows are missing, or a run is not as it was recorded.
    """
    runs = _select_runs(connection, conditions, (*RUN_FIELDS, "record_sha256"))
    tasks = _tasks(connection, runs, conditions, tuple(TASK_FIELDS.values()))
    episodes = {field: _episodes(connection, runs, conditions, column) for field, column in EPISODE_FIELDS.items()}
    named = {field: _pairs(connection, table, column, conditions) for field, (table, column) in NAMED_FIELDS.items()}
    artefacts = _pairs(connection, ArtefactRow, "address", conditions, name="kind")
    plugins = _plugins(connection, conditions)
    records = []
    for run in runs:
        values = {
            **{field: getattr(run, field) for field in RUN_FIELDS},
            **{field: tasks[run.key][column] for field, column in TASK_FIELDS.items()},
            **{field: arrays.get(run.key) for field, arrays in episodes.items()},
            **{field: pairs[run.key] for field, pairs in named.items()},
            **{field: artefacts[run.key].get(field, "") for field in ARTEFACT_FIELDS},
            "plugins": plugins[run.key],
        }
        record = _checked(values)
        require_seal(seal_record(record), run.record_sha256, run.run_id)
        records.append(record)
    return records


def _checked(values: dict[str, Any]) -> RunRecord:
    known = {field: value for field, value in values.items() if field not in _ALL_OR_NONE or None not in value}
    try:
        return RunRecord(**known)
    except BenchError as error:
        problem = f"run {values['run_id']}: {error.message}"
        raise DamagedArtefactError(f"the leaderboard is damaged: {problem}", DAMAGED_HINT) from error


def _select_runs(connection: Connection, conditions: Conditions, names: Sequence[str]) -> Sequence[Row[Any]]:
    columns = RunRow.__table__.c
    wanted = [columns[name] for name in ("key", "num_tasks", "num_episodes", *names)]
    return connection.execute(select(*wanted).where(*conditions).order_by(columns.run_id)).all()


def _children(model: type[Base], columns: Sequence[Any], conditions: Conditions) -> Select[Any]:
    """The rows of a child table that belong to the chosen runs, in the order of its primary key."""
    table = model.__table__
    query = select(table.c.run, *columns)
    if conditions:
        query = query.join(RunRow.__table__, RunRow.__table__.c.key == table.c.run).where(*conditions)
    return query.order_by(*[column for column in table.c if column.primary_key])


def _tasks(
    connection: Connection, runs: Sequence[Row[Any]], conditions: Conditions, names: Sequence[str]
) -> dict[int, dict[str, list[Any]]]:
    """The named columns of `tasks`, K values each, for every run."""
    columns = [TaskRow.__table__.c[name] for name in names]
    rows: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(_children(TaskRow, columns, conditions)):
        rows[row[0]].append(row)
    for run in runs:
        if len(rows[run.key]) != run.num_tasks:
            problem = f"run {run.run_id} has {len(rows[run.key])} tasks, not {run.num_tasks}"
            raise DamagedArtefactError(f"the leaderboard is damaged: {problem}", DAMAGED_HINT)
    return {
        run.key: dict(zip(names, list(map(list, zip(*rows[run.key], strict=True)))[1:], strict=True)) for run in runs
    }


def _episodes(
    connection: Connection, runs: Sequence[Row[Any]], conditions: Conditions, column: str
) -> dict[int, Float64Array]:
    """`column` of `episodes` as one (K, E) array a run, all of them views of a single buffer.

    Runs that have nothing in an optional column are left out.
    """
    stored = EpisodesRow.__table__.c[column]
    assert isinstance(stored.type, PackedArray)
    dtype = np.dtype(stored.type.dtype)
    query = _children(EpisodesRow, [type_coerce(stored, LargeBinary)], conditions)
    keys: list[int] = []
    parts: list[bytes] = []
    for key, part in connection.execute(query.where(stored.is_not(None)) if stored.nullable else query):
        keys.append(key)
        parts.append(part)
    present = set(keys)
    shapes = {run.key: (run.num_tasks, run.num_episodes) for run in runs if run.key in present or not stored.nullable}
    wanted = [shapes[key][1] * dtype.itemsize if key in shapes else -1 for key in keys]
    sound = [len(part) for part in parts] == wanted and len(parts) == sum(tasks for tasks, _ in shapes.values())
    if not sound:
        raise DamagedArtefactError("the leaderboard is damaged: episodes are missing or cut short", DAMAGED_HINT)
    values = np.frombuffer(b"".join(parts), dtype=dtype)
    ordered = sorted(shapes)
    sizes = [shapes[key][0] * shapes[key][1] for key in ordered]
    starts = accumulate(sizes, initial=0)
    return {
        key: values[start : start + size].reshape(shapes[key])
        for key, start, size in zip(ordered, starts, sizes, strict=False)
    }


def _pairs(
    connection: Connection, model: type[Base], value: str, conditions: Conditions, name: str = "name"
) -> dict[int, dict[str, Any]]:
    """A child table of names and values as one dictionary a run."""
    table = model.__table__
    pairs: dict[int, dict[str, Any]] = defaultdict(dict)
    for row in connection.execute(_children(model, [table.c[name], table.c[value]], conditions)):
        pairs[row[0]][row[1]] = row[2]
    return pairs


def _plugins(connection: Connection, conditions: Conditions) -> dict[int, list[PluginUse]]:
    columns = [PluginRow.__table__.c[each.name] for each in fields(PluginUse)]
    plugins: dict[int, list[PluginUse]] = defaultdict(list)
    for row in connection.execute(_children(PluginRow, columns, conditions)):
        plugins[row[0]].append(PluginUse(*row[1:]))
    return plugins
