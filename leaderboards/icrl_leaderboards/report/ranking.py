"""The overall ranking of one protocol and track: every method's normalised score on every environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from icrl_leaderboards.report.curves import principal_rows
from icrl_leaderboards.report.styles import is_source
from icrl_leaderboards.summary import Row, Table


@dataclass(frozen=True, eq=False)
class Ranked:
    """One method of a ranking."""

    method: str
    style_label: str  # the row label under which the method's line style is known
    rows: tuple[Row | None, ...]  # one per environment; None where it has no run
    mean: float | None  # mean of the normalised scores over all environments; None where one is missing
    reference: bool  # the source itself, which is measured but does not compete


def rank_methods(tables: Sequence[Table]) -> list[Ranked]:
    """Methods by their mean score over all environments; those that lack one follow, the more complete first."""
    found: dict[str, list[Row | None]] = {}
    for index, table in enumerate(tables):
        for row in principal_rows(table):
            found.setdefault(row.head.method, [None] * len(tables))[index] = row
    ranked = [_ranked(method, rows) for method, rows in found.items()]
    return sorted(ranked, key=_order)


def _ranked(method: str, rows: Sequence[Row | None]) -> Ranked:
    present = [row for row in rows if row is not None]
    scores = [row.normalised_score.value for row in present if row.normalised_score is not None]
    mean = sum(scores) / len(scores) if len(scores) == len(rows) else None
    return Ranked(method, present[0].label, tuple(rows), mean, is_source(present[0]))


def _order(entry: Ranked) -> tuple[bool, int, float, str]:
    missing = sum(row is None or row.normalised_score is None for row in entry.rows)
    return entry.mean is None, missing, -(entry.mean or 0.0), entry.method
