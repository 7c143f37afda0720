"""Opening a leaderboard's database: SQLite with write-ahead logging, or any other URL that SQLAlchemy knows.

Several processes may write at once. On SQLite every write begins with `BEGIN IMMEDIATE`, so the busy timeout covers the whole
wait; what still fails on a lock or a serialisation conflict is tried again until `PATIENCE` is over. Whatever else a database
can say is turned into an error that names the database (without its password) and what to type.

Accepted trade-off: a commit to SQLite does not wait for the disk (`synchronous = NORMAL`), which was nine tenths of a write's
time. A killed process loses nothing; a power cut can take back the rows of the last moments, never half of one and never the
database, and the same run commands record them again.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event, exc, insert, inspect, select, text
from sqlalchemy.engine import URL, make_url

from icrl_leaderboards.database import postgresql
from icrl_leaderboards.database.migrations import migrate
from icrl_leaderboards.database.schema import SCHEMA_VERSION, Base, SchemaVersionRow
from icrl_leaderboards.database.second_look import look_again
from icrl_registry.errors import BenchError, DamagedArtefactError, UsageError, refused_by_the_machine

BUSY_TIMEOUT_MS = 30_000
#: Options of a URL that nobody but the server may see.
SECRETS = frozenset({"password", "sslpassword"})
PATIENCE = 120.0  # seconds for which a write is tried again while others hold the database
_BUSY = ("locked", "busy")
_DAMAGED = (
    *("malformed", "not a database", "no such table", "no such column", "corrupt", "decode to UTF-8"),
    "unsupported file format",  # of the header
)
#: What SQLite calls a page that can't be read.
_UNREADABLE = ("malformed", "not a database", "corrupt", "disk I/O error")

Result = TypeVar("Result")


class LeaderboardError(BenchError):
    """The leaderboard's database cannot be read or written; the hint says what to do."""

    kind = "leaderboard"


def parse_location(location: str | Path) -> URL:
    """A SQLAlchemy URL from a URL or the path of an SQLite file.

    Raises:
        UsageError: it is neither.
    """
    given = str(location) if isinstance(location, Path) else location.strip()
    if not given or "\x00" in given:
        hint = "give --leaderboard a file or a URL such as postgresql://host/name"
        raise UsageError("the leaderboard has no name", hint)
    if (
        isinstance(location, Path) or "://" not in given
    ):  # a path is never read as a URL: `%2F` and `?` are characters of it
        return URL.create("sqlite", database=str(Path(given).expanduser().absolute()))
    try:
        url = make_url(given)
        return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgres", "postgresql") else url
    except (exc.ArgumentError, ValueError):
        hint = "write it as postgresql://user@host/name or sqlite:////absolute/path.sqlite"
        raise UsageError("cannot read the leaderboard's URL", hint) from None  # what was raised may quote a password


def has_password(url: URL) -> bool:
    """Whether a URL carries a password, in its place before the host or among its options."""
    return bool(url.password) or any(name in SECRETS for name in url.query)


def shown(url: URL) -> str:
    """A URL without its secrets, for messages and files."""
    hidden = {name: "***" for name in SECRETS if name in url.query}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def open_engine(url: URL) -> Engine:
    """An engine for `url`; nothing is connected yet.

    Raises:
        UsageError: no such dialect, or its driver is not installed.
    """
    place = shown(url)
    options: dict[str, Any] = {"json_serializer": _dump_json}
    if _is_sqlite_file(url):
        # one connection stays open: closing the last one moves the whole log into the file and syncs both
        options |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": -1}
        options |= {"connect_args": {"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False}}
    elif url.get_backend_name() == "postgresql":
        options |= postgresql.engine_options(url)
    try:
        engine = create_engine(url, **options)
    except exc.NoSuchModuleError as error:
        hint = "use sqlite:///PATH or postgresql+psycopg://HOST/NAME"
        raise UsageError(f"no database dialect for {place}", hint) from error
    except ModuleNotFoundError as error:
        package = "'icrl-bench[postgres]'" if error.name == "psycopg" else error.name
        raise UsageError(f"{place} needs the module '{error.name}'", f"pip install {package}") from error
    except (exc.ArgumentError, TypeError) as error:
        raise UsageError(f"cannot use the leaderboard {place}: {error}", "check the URL") from error
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def open_snapshot(path: Path) -> Engine:
    """An engine for the SQLite file as it is, for reading where nothing can be written, neither the file nor beside it.

    A file in write-ahead mode needs an index beside it even for reading. Without a log the file is complete and is opened as
    immutable, which needs none. With a log, which a killed writer left or another machine is writing, file and log are copied,
    through a temporary folder, into memory. A copy torn by a writer counts as a conflict, to be tried again.
    """

    def connect() -> sqlite3.Connection:
        log = Path(f"{path}-wal")
        if not log.exists() or log.stat().st_size == 0:
            return _connect_by_uri(path, mode="ro", immutable="1")
        with tempfile.TemporaryDirectory(prefix="icrl-bench-") as folder:
            copied = Path(folder) / "leaderboard.sqlite"
            shutil.copyfile(path, copied)
            shutil.copyfile(log, f"{copied}-wal")
            memory = sqlite3.connect(":memory:", check_same_thread=False)
            with closing(_connect_by_uri(copied, mode="rw")) as source:
                source.backup(memory)
        if memory.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.OperationalError("the file was busy while it was copied")
        return memory

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, json_serializer=_dump_json)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _connect_by_uri(path: Path, **options: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?{urlencode(options)}", uri=True, check_same_thread=False)


def cannot_write(error: exc.DBAPIError) -> bool:
    """Whether SQLite failed because it may not write the file, or not make its log and index beside it."""
    said = str(error.orig)
    return isinstance(error.orig, sqlite3.OperationalError) and ("readonly" in said or "unable to open" in said)


def sqlite_file(url: URL) -> Path | None:
    """The file behind an SQLite URL; None for other databases and for one in memory."""
    return Path(str(url.database)) if _is_sqlite_file(url) else None


def _is_sqlite_file(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:") and "mode" not in url.query


def _dump_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _prepare_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # sqlite3 would otherwise begin transactions by itself, and too late
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    statement = connection.get_execution_options().get("icrl_begin", "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)


# --- Transactions ----------------------------------------------------------------------------------------------------


@contextmanager
def transaction(engine: Engine, *, write: bool) -> Iterator[Connection]:
    """One transaction, committed at the end of the block. All queries of a reading one see the same state."""
    with engine.connect() as connection:
        connection = connection.execution_options(icrl_begin="BEGIN IMMEDIATE" if write else "BEGIN")
        if not write and engine.dialect.name == "postgresql":  # by default each statement would see a newer state
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


def retry_conflicts(operation: Callable[[], Result], was_there: bool = False) -> Result:
    """Calls `operation` again, ever more slowly, while it fails because others are writing, or because a server that
    `was_there` has gone."""
    end = time.monotonic() + PATIENCE
    pause = 0.005
    jitter = random.SystemRandom()
    while True:
        try:
            return operation()
        except exc.DBAPIError as error:
            was_there = was_there or error.connection_invalidated  # a connection that was lost had been made
            if not _is_passing(error, was_there) or time.monotonic() + pause > end:
                raise
            was_there = True
        time.sleep(pause * jitter.uniform(0.5, 1.5))
        pause = min(pause * 2, 1.0)


def _is_passing(error: exc.DBAPIError, was_there: bool) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        busy = any(word in str(error.orig) for word in _BUSY)
        return isinstance(error.orig, sqlite3.OperationalError) and busy
    return postgresql.is_conflict(error) or postgresql.is_away(error, was_there)


@contextmanager
def readable_errors(url: URL) -> Iterator[None]:
    """Turns what the database says into errors that a user can act on."""
    place = shown(url)
    try:
        yield
    except DamagedArtefactError as error:  # of rows, by who doesn't know where they lie
        named = error.message.replace("the leaderboard is", f"the leaderboard {place} is", 1)
        raise DamagedArtefactError(named, error.hint) from error
    except exc.DBAPIError as error:
        raise _translate(error, place, sqlite_file(url)) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        if (path := sqlite_file(url)) is None:
            raise LeaderboardError(f"the leaderboard {place} failed: {error}", "check --leaderboard") from error
        raise DamagedArtefactError(f"the leaderboard {path} is damaged: {error}", _move_aside(path)) from error
    except exc.SQLAlchemyError as error:
        raise LeaderboardError(f"the leaderboard {place} failed: {error}", "check --leaderboard") from error


def _translate(error: exc.DBAPIError, place: str, path: Path | None) -> BenchError:
    said = " ".join(str(error.orig).split())
    if path is None:
        if "NUL" in said:  # PostgreSQL's text has every character but this one
            return LeaderboardError(f"the leaderboard {place} takes no name with a NUL: {said}", "rename the plugin")
        hint = "check that the server runs and that --leaderboard is right"
        if "certificate" in said:
            hint = "sslrootcert=FILE in the URL names the certificate of whoever signed the server's, sslmode what is checked"
        return LeaderboardError(f"the leaderboard {place} failed: {said}", hint)
    elsewhere = "or give --leaderboard another file"
    if any(word in said for word in _UNREADABLE) and (failure := _failure_of_the_disk(path, said)):
        return failure
    if any(word in said for word in _DAMAGED):
        return DamagedArtefactError(f"the leaderboard {path} is damaged: {said}", _move_aside(path))
    if "full" in said:
        return LeaderboardError(f"no space left for the leaderboard {path}", f"free some space, {elsewhere}")
    if "readonly" in said:
        hint = f"`chmod u+w {path}`, {elsewhere}; one that may be written has a damaged header: {_move_aside(path)}"
        return LeaderboardError(f"the leaderboard {path} is read-only", hint)
    if "unable to open" in said:
        hint = f"check that its folder exists and is yours, {elsewhere}"
        return LeaderboardError(f"cannot open the leaderboard {path}", hint)
    if any(word in said for word in _BUSY):
        hint = f"wait for that process to end, {elsewhere}"
        return LeaderboardError(f"the leaderboard {path} is held by another process", hint)
    return LeaderboardError(f"the leaderboard {path} failed: {said}", f"try again, {elsewhere}")


def _move_aside(path: Path) -> str:
    return f"`mv {path} {path}.damaged`; the same run commands record their rows again"


def _failure_of_the_disk(path: Path, said: str) -> BenchError | None:
    """What SQLite calls damage where the disk failed: nothing may be moved or discarded because of it."""
    found = look_again(path)
    if isinstance(found, OSError):
        return refused_by_the_machine(found, f"the leaderboard {path}")
    if found is True:
        hint = "run the same command again; if it fails again: `df` tells of a full disk, `dmesg` of a failing one"
        return LeaderboardError(f"could not use the leaderboard {path}, which is whole: {said}", hint)
    return None


# --- The schema ------------------------------------------------------------------------------------------------------


def schema_version(connection: Connection, place: str) -> int:
    """Which form the leaderboard's tables have; 0 where there are none yet.

    Raises:
        LeaderboardError: they have a newer form, or the database belongs to something else.
        DamagedArtefactError: the version is not one that ever was.
    """
    tables = set(inspect(connection).get_table_names())
    if SchemaVersionRow.__tablename__ not in tables:
        foreign = sorted(tables & set(Base.metadata.tables))
        if foreign:
            hint = "give --leaderboard a database of its own"
            raise LeaderboardError(f"{place} has a table '{foreign[0]}' of another program", hint)
        return 0
    versions = connection.execute(select(SchemaVersionRow.version)).scalars().all()
    newest = max(versions, default=0)
    if newest > SCHEMA_VERSION:
        message = f"{place} was written by a newer icrl-bench (schema {newest}; this one reads up to {SCHEMA_VERSION})"
        raise LeaderboardError(message, "pip install --upgrade icrl-bench")
    if newest < 1:
        raise DamagedArtefactError(f"{place} does not say which schema it has", "move it aside and run again")
    return newest


def ensure_schema(engine: Engine, place: str) -> None:
    """Creates the tables where there are none and brings older ones up to date; several processes may do so at once.

    An upgrade is one transaction: whatever happens in between, the database has its old form or its new one.
    """
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection = connection.execution_options(icrl_begin="")  # within a transaction the mode cannot change
            if connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    with transaction(engine, write=True) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(7215501)"))
        version = schema_version(connection, place)
        if version == 0:
            Base.metadata.create_all(connection)
            connection.execute(insert(SchemaVersionRow).values(version=SCHEMA_VERSION))
        elif version < SCHEMA_VERSION:
            migrate(connection, version)


def upgrade_schema(engine: Engine, place: str, version: int) -> None:
    """Brings older tables up to date, for somebody who only wants to read.

    Raises:
        LeaderboardError: the database is read-only.
    """
    try:
        ensure_schema(engine, place)
    except exc.OperationalError as error:
        if "readonly" not in str(error.orig):
            raise
        message = f"{place} has the tables of an older icrl-bench (schema {version}) and is read-only"
        raise LeaderboardError(message, "give --leaderboard a copy of it that can be written") from error
