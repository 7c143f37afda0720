"""From every schema that ever was to the next one, row by row kept.

`STEPS[v]` turns a database of schema v into one of schema v + 1. A step names tables and columns literally: it must do in
years what it did when it was written, whatever the models of `schema` have become. `ensure_schema` calls them within one
transaction.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)


def migrate(connection: Connection, version: int) -> None:
    """Brings the tables from schema `version` to the newest one."""
    while version in STEPS:
        STEPS[version](connection)
        version += 1
        connection.execute(text("UPDATE schema_version SET version = :version"), {"version": version})


def _add_studies_and_source_curves(connection: Connection) -> None:
    """1 → 2: studies (named grids of runs), and the source's learning curve on each test task."""
    connection.execute(text("ALTER TABLE tasks ADD COLUMN source_curve JSON"))
    metadata = MetaData()
    Table(
        "studies",
        metadata,
        Column("key", Integer, primary_key=True),
        Column("name", String(255), unique=True, nullable=False),
        *[Column(name, Text, nullable=False) for name in ("method", "environment", "protocol", "track")],
        Column("axes", JSON, nullable=False),
        Column("created_at", String(40), nullable=False),
    )
    Table(
        "study_runs",
        metadata,
        Column("study", Integer, ForeignKey("studies.key", ondelete="CASCADE"), primary_key=True),
        Column("position", Integer, primary_key=True, autoincrement=False),
        Column("run_id", String(255), nullable=False),
        Column("seed", BigInteger, nullable=False),
        Column("settings", JSON, nullable=False),
        Column("error", Text),
    )
    metadata.create_all(connection, checkfirst=False)


def _add_success_ceilings_and_protocols(connection: Connection) -> None:
    """2 → 3: success of every episode, what a policy blind to the task can reach, the text of a run's protocol, and
    certificates of environments."""
    double, binary = ("DOUBLE PRECISION", "BYTEA") if connection.dialect.name == "postgresql" else ("DOUBLE", "BLOB")
    connection.execute(text(f"ALTER TABLE tasks ADD COLUMN blind_ceiling {double}"))
    connection.execute(text(f"ALTER TABLE episodes ADD COLUMN success {binary}"))
    connection.execute(text("ALTER TABLE runs ADD COLUMN protocol_content TEXT"))
    metadata = MetaData()
    Table(
        "certificates",
        metadata,
        Column("environment", String(255), primary_key=True),
        Column("protocol", String(255), primary_key=True),
        Column("content", JSON, nullable=False),
    )
    metadata.create_all(connection, checkfirst=False)


def _add_step_rewards(connection: Connection) -> None:
    """3 → 4: the rewards of the first episodes, step by step."""
    connection.execute(text("ALTER TABLE runs ADD COLUMN step_rewards JSON"))


def _add_checksums(connection: Connection) -> None:
    """4 → 5: a checksum of a run's scores and one of the whole run; rows of before have none."""
    for name in ("scores_sha256", "record_sha256"):
        connection.execute(text(f"ALTER TABLE runs ADD COLUMN {name} VARCHAR(64)"))


STEPS: dict[int, Callable[[Connection], None]] = {
    1: _add_studies_and_source_curves,
    2: _add_success_ceilings_and_protocols,
    3: _add_step_rewards,
    4: _add_checksums,
}
