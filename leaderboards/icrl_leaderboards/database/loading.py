"""Reading runs in bulk: one query per table whatever the number of runs, and all episodes through one buffer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, LargeBinary, Row, Select, select, type_coerce

from icrl_leaderboards.database.schema import (
    LENGTH_TYPE,
    RETURN_TYPE,
    ArtefactRow,
    Base,
    DiagnosticRow,
    EpisodesRow,
    PluginRow,
    ProvenanceRow,
    RunRow,
    StageRow,
    TaskRow,
)
from icrl_leaderboards.runs.record import PluginUse, RunRecord
from icrl_leaderboards.runs.scores import FloatArray, RunScores, plugin_digest, with_nan
from icrl_registry.errors import BenchError, DamagedArtefactError

Conditions = Sequence[ColumnElement[bool]]
DAMAGED_HINT = "move the leaderboard aside; the same run commands record their rows again"


def load_scores(connection: Connection, conditions: Conditions) -> list[RunScores]:
    """The scores of the runs that meet all `conditions`, in the order of their run ids."""
    runs = _select_runs(connection, conditions, _SHARED_FIELDS)
    tasks = _tasks(connection, runs, conditions, ("label", *_REFERENCES))
    returns = _episodes(connection, runs, conditions, "returns")
    seconds = _pairs(connection, StageRow, "seconds", conditions)
    plugins = _plugins(connection, conditions)
    scores = []
    for run in runs:
        _, labels, random, zero_action, oracle, oracle_greedy = zip(*tasks[run.key], strict=True)
        scores.append(
            RunScores(
                **{name: getattr(run, name) for name in _SHARED_FIELDS},
                seconds=seconds[run.key],
                plugins=tuple(sorted(plugin_digest(kind, name, last) for kind, name, _, _, last in plugins[run.key])),
                task_labels=labels,
                returns=returns[run.key],
                random=np.array(random),
                zero_action=np.array(zero_action),
                oracle=with_nan(oracle),
                oracle_greedy=with_nan(oracle_greedy),
            )
        )
    return scores


def load_records(connection: Connection, conditions: Conditions) -> list[RunRecord]:
    """The records of the runs that meet all `conditions`, in the order of their run ids."""
    runs = _select_runs(connection, conditions, (*_SHARED_FIELDS, "config"))
    tasks = _tasks(connection, runs, conditions, ("label", "parameters", *_REFERENCES, "source_curve"))
    returns = _episodes(connection, runs, conditions, "returns")
    lengths = _episodes(connection, runs, conditions, "lengths")
    seconds = _pairs(connection, StageRow, "seconds", conditions)
    artefacts = _pairs(connection, ArtefactRow, "address", conditions, name="kind")
    provenance = _pairs(connection, ProvenanceRow, "value", conditions)
    diagnostics = _pairs(connection, DiagnosticRow, "value", conditions)
    plugins = _plugins(connection, conditions)
    records = []
    for run in runs:
        columns = map(list, zip(*tasks[run.key], strict=True))
        _, labels, parameters, random, zero_action, oracle, oracle_greedy, curves = columns
        fields = {
            **{name: getattr(run, name) for name in _SHARED_FIELDS},
            "config": run.config,
            "task_parameters": parameters,
            "task_labels": labels,
            "returns": returns[run.key].tolist(),
            "episode_lengths": lengths[run.key].tolist(),
            "random": random,
            "zero_action": zero_action,
            "oracle": oracle,
            "oracle_greedy": oracle_greedy,
            "source_curves": [] if None in curves else curves,
            "seconds": seconds[run.key],
            "checkpoint": artefacts[run.key].get("checkpoint", ""),
            "dataset": artefacts[run.key].get("dataset", ""),
            "plugins": [PluginUse(*use) for use in plugins[run.key]],
            "provenance": provenance[run.key],
            "diagnostics": diagnostics[run.key],
        }
        records.append(_checked(fields))
    return records


def _checked(fields: dict[str, Any]) -> RunRecord:
    try:
        return RunRecord(**fields)
    except BenchError as error:
        problem = f"run {fields['run_id']}: {error.message}"
        raise DamagedArtefactError(f"the leaderboard is damaged: {problem}", DAMAGED_HINT) from error


_REFERENCES = ("random", "zero_action", "oracle", "oracle_greedy")
_SHARED_FIELDS = (
    "run_id",
    "method",
    "backbone",
    "environment",
    "protocol",
    "track",
    "seed",
    "variant",
    "parameters",
    "collect_env_steps",
    "train_env_steps",
    "adapt_env_steps",
    "created_at",
)


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
) -> dict[int, list[Row[Any]]]:
    columns = [TaskRow.__table__.c[name] for name in names]
    tasks: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(_children(TaskRow, columns, conditions)):
        tasks[row[0]].append(row)
    for run in runs:
        if len(tasks[run.key]) != run.num_tasks:
            problem = f"run {run.run_id} has {len(tasks[run.key])} tasks, not {run.num_tasks}"
            raise DamagedArtefactError(f"the leaderboard is damaged: {problem}", DAMAGED_HINT)
    return tasks


def _episodes(
    connection: Connection, runs: Sequence[Row[Any]], conditions: Conditions, column: str
) -> dict[int, FloatArray]:
    """`column` of `episodes` as one (K, E) array a run, all of them views of a single buffer."""
    dtype = RETURN_TYPE if column == "returns" else LENGTH_TYPE
    packed = type_coerce(EpisodesRow.__table__.c[column], LargeBinary)
    keys: list[int] = []
    parts: list[bytes] = []
    for key, part in connection.execute(_children(EpisodesRow, [packed], conditions)):
        keys.append(key)
        parts.append(part)
    shapes = {run.key: (run.num_tasks, run.num_episodes) for run in runs}
    wanted = [shapes[key][1] * dtype.itemsize if key in shapes else -1 for key in keys]
    sound = [len(part) for part in parts] == wanted and len(parts) == sum(run.num_tasks for run in runs)
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


def _plugins(connection: Connection, conditions: Conditions) -> dict[int, list[Sequence[str]]]:
    """Kind, name, distribution, version and content hash of every plugin of a run."""
    columns = [PluginRow.__table__.c[name] for name in ("kind", "name", "distribution", "version", "content_hash")]
    plugins: dict[int, list[Sequence[str]]] = defaultdict(list)
    for row in connection.execute(_children(PluginRow, columns, conditions)):
        plugins[row[0]].append(row[1:])
    return plugins
