"""Which runs are asked for: one set of filters for everything that reads a leaderboard, and what they mean in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from sqlalchemy import ColumnElement, Connection, select

from icrl_leaderboards.database.schema import RunRow
from icrl_registry.errors import unknown_name

#: Filters by a name; without its version one covers every version.
NAMES = ("environment", "method", "protocol", "track")


class RunFilter(TypedDict, total=False):
    """What runs must be; None, like nothing, asks for nothing. An environment or protocol without its version means all."""

    environment: str | None
    method: str | None
    protocol: str | None
    track: str | None
    seed: int | None
    run_ids: Sequence[str] | None


def conditions(connection: Connection, filters: RunFilter) -> list[ColumnElement[bool]]:
    """What rows of `RunRow` must meet.

    Raises:
        UnknownNameError: a filter that there is not.
    """
    columns = RunRow.__table__.c
    met: list[ColumnElement[bool]] = []
    for name, wanted in filters.items():
        if name not in RunFilter.__annotations__:
            raise unknown_name("filter", name, list(RunFilter.__annotations__))
        if isinstance(wanted, str):
            met.append(columns[name].in_(matching(wanted, recorded_names(connection, name))))
    if (seed := filters.get("seed")) is not None:
        met.append(columns.seed == seed)
    if (run_ids := filters.get("run_ids")) is not None:
        met.append(columns.run_id.in_(list(run_ids)))
    return met


def recorded_names(connection: Connection, column: str) -> list[str]:
    """The distinct values of one of `NAMES`, sorted."""
    return sorted(connection.execute(select(RunRow.__table__.c[column]).distinct()).scalars())


def matching(wanted: str, known: Sequence[str]) -> list[str]:
    """`wanted` itself and every version of it: `pusher-goal` covers `pusher-goal-v1`."""
    return [name for name in known if name == wanted or _without_version(name) == wanted]


def _without_version(name: str) -> str:
    stem, _, version = name.partition("+")[0].rpartition("-v")  # `laptop-v1+1a2b3c` is laptop-v1 with changed settings
    return stem if version.isdigit() else name
