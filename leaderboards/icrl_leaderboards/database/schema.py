"""The leaderboard's tables, as SQLAlchemy 2 models. Only raw results are stored: every aggregate is computed from them.

One row of `episodes` holds the E returns and lengths of one (run, task) as packed little-endian arrays, returns as float64:
the same numbers that the harness measured, bit for bit, at 12 bytes an episode. Reading the five million episodes of 10,000
runs so takes a fifth of the time that one row an episode takes.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Integer, LargeBinary, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from icrl_leaderboards.runs.record import REFERENCES, RunRecord

#: Raised whenever a table changes, with a step in `migrations`; a database with a newer one is refused.
SCHEMA_VERSION = 5

RETURN_TYPE = np.dtype("<f8")
LENGTH_TYPE = np.dtype("<i4")


class PackedArray(TypeDecorator[NDArray[Any]]):
    """A one-dimensional array as its bytes."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, dtype: str) -> None:
        super().__init__(length=2**24 - 1)
        self.dtype = dtype

    def process_bind_param(self, value: Any, dialect: Any) -> bytes | None:
        return None if value is None else np.asarray(value, dtype=np.dtype(self.dtype)).tobytes()

    def process_result_value(self, value: Any, dialect: Any) -> NDArray[Any] | None:
        return None if value is None else np.frombuffer(value, dtype=np.dtype(self.dtype))


class Base(DeclarativeBase):
    """Base of all tables."""


class SchemaVersionRow(Base):
    """One row: which form the tables have."""

    __tablename__ = "schema_version"

    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)


class RunRow(Base):
    """One run: (method, environment, protocol, seed)."""

    __tablename__ = "runs"

    key: Mapped[int] = mapped_column(Integer, primary_key=True)
    run_id: Mapped[str] = mapped_column(String(255), unique=True)
    method: Mapped[str] = mapped_column(Text)
    backbone: Mapped[str | None] = mapped_column(Text)
    environment: Mapped[str] = mapped_column(Text)
    protocol: Mapped[str] = mapped_column(Text)
    track: Mapped[str] = mapped_column(Text)
    seed: Mapped[int] = mapped_column(BigInteger)
    num_tasks: Mapped[int] = mapped_column(Integer)  # K
    num_episodes: Mapped[int] = mapped_column(Integer)  # E
    parameters: Mapped[int] = mapped_column(BigInteger)
    collect_env_steps: Mapped[int] = mapped_column(BigInteger)
    train_env_steps: Mapped[int] = mapped_column(BigInteger)
    adapt_env_steps: Mapped[int] = mapped_column(BigInteger)
    variant: Mapped[dict[str, Any]] = mapped_column(JSON)
    config: Mapped[dict[str, Any]] = mapped_column(JSON)
    protocol_content: Mapped[str | None] = mapped_column(Text)  # the protocol's TOML
    step_rewards: Mapped[list[list[float]] | None] = mapped_column(JSON(none_as_null=True))  # of the first episodes
    created_at: Mapped[str] = mapped_column(String(40))  # ISO 8601, UTC
    scores_sha256: Mapped[str | None] = mapped_column(String(64))  # what `seals` says of the run as it was recorded
    record_sha256: Mapped[str | None] = mapped_column(String(64))


def _run_key() -> Mapped[int]:
    return mapped_column(Integer, ForeignKey("runs.key", ondelete="CASCADE"), primary_key=True)


class TaskRow(Base):
    """One test task of a run, with the references that its returns are measured against."""

    __tablename__ = "tasks"

    run: Mapped[int] = _run_key()
    task: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    label: Mapped[str] = mapped_column(Text)
    parameters: Mapped[list[float]] = mapped_column(JSON)  # (P,)
    random: Mapped[float] = mapped_column(Double)
    zero_action: Mapped[float] = mapped_column(Double)
    oracle: Mapped[float | None] = mapped_column(Double)
    oracle_greedy: Mapped[float | None] = mapped_column(Double)
    blind_ceiling: Mapped[float | None] = mapped_column(Double)
    source_curve: Mapped[list[float] | None] = mapped_column(JSON(none_as_null=True))  # the oracle while it trained


class EpisodesRow(Base):
    """All episodes of one (run, task), in order."""

    __tablename__ = "episodes"

    run: Mapped[int] = _run_key()
    task: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    returns: Mapped[NDArray[Any]] = mapped_column(PackedArray(RETURN_TYPE.str))  # (E,) float64
    lengths: Mapped[NDArray[Any]] = mapped_column(PackedArray(LENGTH_TYPE.str))  # (E,) int32, environment steps
    success: Mapped[NDArray[Any] | None] = mapped_column(PackedArray(RETURN_TYPE.str))  # (E,) float64, from 0 to 1


class StageRow(Base):
    """Wall-clock of one stage of a run."""

    __tablename__ = "stages"

    run: Mapped[int] = _run_key()
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    seconds: Mapped[float] = mapped_column(Double)


class ArtefactRow(Base):
    """An artefact that a run made or used, by its address."""

    __tablename__ = "artefacts"

    run: Mapped[int] = _run_key()
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)  # "checkpoint" or "dataset"
    address: Mapped[str] = mapped_column(Text)


class PluginRow(Base):
    """A plugin that took part in a run."""

    __tablename__ = "plugins"

    run: Mapped[int] = _run_key()
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    distribution: Mapped[str] = mapped_column(Text)
    version: Mapped[str] = mapped_column(Text)
    content_hash: Mapped[str] = mapped_column(Text)


class ProvenanceRow(Base):
    """One fact of how a run came about: versions, git revision, hardware, kernel, device, threads, …"""

    __tablename__ = "provenance"

    run: Mapped[int] = _run_key()
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    value: Mapped[Any] = mapped_column(JSON, nullable=True)


class DiagnosticRow(Base):
    """A number that the method kept with its run."""

    __tablename__ = "diagnostics"

    run: Mapped[int] = _run_key()
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    value: Mapped[float] = mapped_column(Double)


#: Tables whose rows belong to one run each, in the order in which they are written.
CHILDREN: tuple[type[Base], ...] = (
    TaskRow,
    EpisodesRow,
    StageRow,
    ArtefactRow,
    PluginRow,
    ProvenanceRow,
    DiagnosticRow,
)

# Where the fields of a record lie: what writes and what reads a run go through these.

#: Fields in the run's row, in a column of the same name.
RUN_FIELDS = tuple(each.name for each in fields(RunRecord) if each.name in RunRow.__table__.c)
#: Fields of one entry per test task, and their column of `tasks`.
TASK_FIELDS = {
    "task_labels": "label",
    "task_parameters": "parameters",
    "source_curves": "source_curve",
    **{name: name for name in REFERENCES},
}
#: Fields of one row of numbers per test task, and their column of `episodes`.
EPISODE_FIELDS = {"returns": "returns", "episode_lengths": "lengths", "success": "success"}
#: Fields that map names to values, and the table and column of the values.
NAMED_FIELDS: dict[str, tuple[type[Base], str]] = {
    "seconds": (StageRow, "seconds"),
    "provenance": (ProvenanceRow, "value"),
    "diagnostics": (DiagnosticRow, "value"),
}
#: Fields with an artefact's address, by which `artefacts` calls its kind.
ARTEFACT_FIELDS = ("checkpoint", "dataset")


class CertificateRow(Base):
    """What proves that an environment under a protocol tests learning in context: the newest certificate of the two."""

    __tablename__ = "certificates"

    environment: Mapped[str] = mapped_column(String(255), primary_key=True)
    protocol: Mapped[str] = mapped_column(String(255), primary_key=True)
    content: Mapped[dict[str, Any]] = mapped_column(JSON)  # the fields of `runs.certificates.Certificate`


class StudyRow(Base):
    """A named grid of runs: one method on one environment with some of its settings varied."""

    __tablename__ = "studies"

    key: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    method: Mapped[str] = mapped_column(Text)
    environment: Mapped[str] = mapped_column(Text)
    protocol: Mapped[str] = mapped_column(Text)
    track: Mapped[str] = mapped_column(Text)
    axes: Mapped[list[Any]] = mapped_column(JSON)  # [[dotted key, [value, …]], …], in the order given
    created_at: Mapped[str] = mapped_column(String(40))  # ISO 8601, UTC


class StudyRunRow(Base):
    """One run that a study asks for. It names the run and does not own it: the run may be missing, or be in many studies."""

    __tablename__ = "study_runs"

    study: Mapped[int] = mapped_column(Integer, ForeignKey("studies.key", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    run_id: Mapped[str] = mapped_column(String(255))
    seed: Mapped[int] = mapped_column(BigInteger)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)  # dotted key → value, one entry per axis
    error: Mapped[str | None] = mapped_column(Text)  # why the last attempt failed
