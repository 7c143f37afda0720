"""The leaderboard: a database of runs that several processes may write and read at once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, Unpack

from sqlalchemy import Connection, Engine, delete, exc, insert, select
from sqlalchemy.engine import URL

from icrl_leaderboards.database.certificates import load_certificates, write_certificate
from icrl_leaderboards.database.connections import (
    cannot_write,
    ensure_schema,
    open_engine,
    open_snapshot,
    parse_location,
    readable_errors,
    retry_conflicts,
    schema_version,
    shown,
    sqlite_file,
    transaction,
    upgrade_schema,
)
from icrl_leaderboards.database.filters import NAMES, RunFilter, conditions, matching, recorded_names
from icrl_leaderboards.database.loading import load_records, load_scores
from icrl_leaderboards.database.schema import (
    ARTEFACT_FIELDS,
    CHILDREN,
    EPISODE_FIELDS,
    NAMED_FIELDS,
    RUN_FIELDS,
    SCHEMA_VERSION,
    TASK_FIELDS,
    ArtefactRow,
    Base,
    EpisodesRow,
    PluginRow,
    RunRow,
    TaskRow,
)
from icrl_leaderboards.database.seals import seal_record, seal_scores
from icrl_leaderboards.database.studies import Study, load_studies, write_study
from icrl_leaderboards.runs.certificates import Certificate
from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.runs.scores import RunScores
from icrl_registry.errors import UnknownNameError, UsageError, unknown_name

Result = TypeVar("Result")
STREAM_RUNS = 200  # records in memory at a time


class Leaderboard:
    """Runs in a database, by default an SQLite file.

    Nothing is opened before the first call, and reading makes no file: a leaderboard that is not there yet has no runs.
    """

    def __init__(self, location: str | Path) -> None:
        """`location` is the path of an SQLite file or any SQLAlchemy URL.

        Raises:
            UsageError: it is neither, or the URL's driver is not installed.
        """
        self.url: URL = parse_location(location)
        self._engine = open_engine(self.url)
        self._has_tables = False
        self._was_there = False  # whether the database has answered before

    @property
    def place(self) -> str:
        """Where it is, without a password."""
        path = sqlite_file(self.url)
        return str(path) if path is not None else shown(self.url)

    def record(self, run: RunRecord) -> None:
        """Stores a run, in one transaction; a run with the same id is replaced.

        Raises:
            BenchError: the database is damaged, full, read-only, held by another process or out of reach.
        """
        self.record_all([run])

    def record_all(self, runs: Sequence[RunRecord]) -> None:
        """Stores several runs in one transaction: all of them or none."""
        if runs:
            self._write(lambda connection: _replace_all(connection, runs))

    def delete(self, run_id: str) -> bool:
        """Removes a run and everything that belongs to it; says whether it was there."""
        if not self._exists():
            return False
        return self._write(lambda connection: _delete(connection, run_id))

    def runs(self, **filters: Unpack[RunFilter]) -> list[RunRecord]:
        """The records that meet all filters, in the order of their run ids.

        Raises:
            UnknownNameError: there is no such filter.
        """
        return self._read(lambda connection: load_records(connection, conditions(connection, filters)), [])

    def scores(self, **filters: Unpack[RunFilter]) -> list[RunScores]:
        """What tables and plots need of the same runs, as arrays: much faster than `runs` where there are thousands."""
        return self._read(lambda connection: load_scores(connection, conditions(connection, filters)), [])

    def run_ids(self, **filters: Unpack[RunFilter]) -> list[str]:
        """The ids of the runs that meet all filters, sorted."""
        ids = select(RunRow.__table__.c.run_id)
        return self._read(
            lambda connection: sorted(connection.execute(ids.where(*conditions(connection, filters))).scalars()), []
        )

    def stream(self, run_ids: Sequence[str]) -> Iterator[RunRecord]:
        """The records of many runs in the order given, a few hundred in memory at a time; missing ones are left out."""
        for start in range(0, len(run_ids), STREAM_RUNS):
            part = run_ids[start : start + STREAM_RUNS]
            found = {run.run_id: run for run in self.runs(run_ids=part)}
            yield from (found[run_id] for run_id in part if run_id in found)

    def find_runs(self, given: Sequence[str]) -> list[str]:
        """Full ids of the runs that were named by an id or by a beginning that no other id has.

        Raises:
            UnknownNameError: no such run, with the nearest ids. UsageError: a beginning of several ids.
        """
        known = self.run_ids()
        return [_find_run(name, known, self.place) for name in given]

    def names(self, column: str) -> list[str]:
        """The distinct values of one of `NAMES`, sorted."""
        if column not in NAMES:
            raise unknown_name("column", column, NAMES)
        return self._read(lambda connection: recorded_names(connection, column), [])

    def require_names(self, **filters: Unpack[RunFilter]) -> None:
        """Refuses a filter value that no recorded run has; an empty leaderboard refuses nothing.

        Raises:
            UnknownNameError: with the nearest names that were recorded.
        """
        for column, wanted in filters.items():
            if isinstance(wanted, str) and (known := self.names(column)) and not matching(wanted, known):
                raise unknown_name(f"{column} in the leaderboard {self.place}:", wanted, known)

    def record_study(self, study: Study) -> None:
        """Stores which runs a study asks for; a study of the same name is replaced. The runs are recorded by themselves."""
        self._write(lambda connection: write_study(connection, study))

    def record_certificate(self, certificate: Certificate) -> None:
        """Stores what proves that an environment tests learning in context; an earlier one of the same is replaced."""
        self._write(lambda connection: write_certificate(connection, certificate))

    def certificates(self) -> dict[tuple[str, str], Certificate]:
        """All certificates, by (environment, protocol)."""
        found: list[Certificate] = self._read(load_certificates, [])
        return {(each.environment, each.protocol): each for each in found}

    def studies(self, name: str | None = None) -> list[Study]:
        """All studies, or the one of that name, by name. `runs` and `scores` take a study's `run_ids`."""
        return self._read(lambda connection: load_studies(connection, name), [])

    def reach(self) -> None:
        """Asks a server for an answer, before hours of work whose rows it is to take. A file is looked at when it is written.

        Raises:
            LeaderboardError: it is out of reach, or not one of ours.
        """
        if sqlite_file(self.url) is None:
            self._read(lambda connection: None, None)

    def close(self) -> None:
        """Lets go of the database."""
        self._engine.dispose()

    def __enter__(self) -> Leaderboard:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- Transactions ---

    def _write(self, operation: Callable[[Connection], Result]) -> Result:
        def attempt() -> Result:
            if not self._has_tables:
                ensure_schema(self._engine, self.place)
                self._has_tables = True
            with transaction(self._engine, write=True) as connection:
                return operation(connection)

        with readable_errors(self.url):
            self._prepare_folder()
            return self._patiently(attempt)

    def _read(self, operation: Callable[[Connection], Result], empty: Result) -> Result:
        def attempt(engine: Engine) -> Result:
            with transaction(engine, write=False) as connection:
                version = schema_version(connection, self.place)
                if version == SCHEMA_VERSION:
                    return operation(connection)
            if version == 0:
                return empty
            upgrade_schema(engine, self.place, version)
            return attempt(engine)

        if not self._exists():
            return empty
        with readable_errors(self.url):
            try:
                return self._patiently(lambda: attempt(self._engine))
            except exc.OperationalError as error:
                path = sqlite_file(self.url)
                if path is None or not cannot_write(error):
                    raise
                snapshot = open_snapshot(path)
                return retry_conflicts(lambda: attempt(snapshot))

    def _patiently(self, attempt: Callable[[], Result]) -> Result:
        result = retry_conflicts(attempt, self._was_there)
        self._was_there = True
        return result

    def _exists(self) -> bool:
        path = sqlite_file(self.url)
        if path is not None and path.is_dir():
            hint = f"give a file, for example {path / 'leaderboard.sqlite'}"
            raise UsageError(f"the leaderboard {path} is a folder", hint)
        return path is None or path.exists()

    def _prepare_folder(self) -> None:
        path = sqlite_file(self.url)
        if path is None:
            return
        if not self._exists():  # never, or moved aside since: an open connection would go on writing to the moved one
            self._engine.dispose()
            self._has_tables = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            hint = "give --leaderboard a file in a folder that is yours"
            raise UsageError(f"cannot make the folder {path.parent}: {error.strerror}", hint) from error


# --- Reading -------------------------------------------------------------------------------------------------------


def _find_run(name: str, known: Sequence[str], place: str) -> str:
    index = bisect_left(known, name)  # an id sorts right before the ids that continue it
    if index < len(known) and known[index] == name:
        return name
    begun = known[index : bisect_left(known, name + chr(0x10FFFF))] if name else []
    if len(begun) > 1:
        raise UsageError(f"{len(begun)} runs begin with '{name}'", f"{begun[0]} or {begun[1]}")
    if not begun:
        near = known[max(0, index - 3) : index + 3]
        hint = f"the nearest: {', '.join(near)}" if near else "nothing is recorded there yet"
        raise UnknownNameError(f"no run '{name}' in the leaderboard {place}", hint)
    return begun[0]


# --- Writing ---------------------------------------------------------------------------------------------------------


def _delete(connection: Connection, run_id: str) -> bool:
    return connection.execute(delete(RunRow).where(RunRow.run_id == run_id)).rowcount > 0


def _replace_all(connection: Connection, runs: Sequence[RunRecord]) -> None:
    for run in runs:
        _replace(connection, run)


def _replace(connection: Connection, run: RunRecord) -> None:
    _delete(connection, run.run_id)
    inserted = connection.execute(insert(RunRow).values(_run_values(run)))
    key = inserted.inserted_primary_key
    assert key is not None
    rows = _child_rows(run)
    for model in CHILDREN:
        if rows[model]:
            connection.execute(insert(model), [{"run": key[0], **row} for row in rows[model]])


def _run_values(run: RunRecord) -> dict[str, Any]:
    return {
        **{name: getattr(run, name) for name in RUN_FIELDS},
        "num_tasks": len(run.returns),
        "num_episodes": len(run.returns[0]),
        "scores_sha256": seal_scores(RunScores.from_record(run)),
        "record_sha256": seal_record(run),
    }


def _child_rows(run: RunRecord) -> dict[type[Base], list[dict[str, Any]]]:
    return {
        TaskRow: _per_task(run, TASK_FIELDS),
        EpisodesRow: _per_task(run, EPISODE_FIELDS),
        ArtefactRow: [{"kind": kind, "address": getattr(run, kind)} for kind in ARTEFACT_FIELDS],
        PluginRow: [{"position": index, **asdict(use)} for index, use in enumerate(run.plugins)],
        **{
            table: [{"name": name, column: value} for name, value in getattr(run, field).items()]
            for field, (table, column) in NAMED_FIELDS.items()
        },
    }


def _per_task(run: RunRecord, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row a test task, from fields and their columns; what a run does not have is NULL in all rows."""
    num_tasks = len(run.returns)
    known = {column: getattr(run, field) or [None] * num_tasks for field, column in columns.items()}
    return [{"task": task, **{column: values[task] for column, values in known.items()}} for task in range(num_tasks)]
