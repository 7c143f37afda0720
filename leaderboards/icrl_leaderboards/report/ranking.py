"""The overall ranking of one protocol and track: every method's normalised score on every environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from icrl_leaderboards.analysis.statistics.intervals import Estimate
from icrl_leaderboards.analysis.statistics.pairs import pooled_difference, pooled_probability, wins_of
from icrl_leaderboards.analysis.summary import Row, Table
from icrl_leaderboards.report.figures.adaptation import MOST_CURVES, principal_rows, rivals
from icrl_leaderboards.report.styles import is_source


@dataclass(frozen=True, eq=False)
class Ranked:
    """One method of a ranking."""

    method: str
    style_label: str  # the row label under which the method's line style is known
    rows: tuple[Row | None, ...]  # one per environment; None where it has no run
    overall: Estimate | None  # mean of the normalised scores over all environments; None where one is missing
    reference: bool  # the source itself, which is measured but does not compete


def rank_methods(tables: Sequence[Table]) -> list[Ranked]:
    """Methods by their mean score over all environments; those that lack one follow, the more complete first.

    Scores that say little (`analysis.standing`) rank nothing.
    """
    found: dict[str, list[Row | None]] = {}
    for index, table in enumerate(tables):
        for row in principal_rows(table):
            found.setdefault(row.head.method, [None] * len(tables))[index] = row
    ranked = [_ranked(method, rows) for method, rows in found.items()]
    return sorted(ranked, key=_order)


def probabilities_of_improvement(table: Table) -> tuple[list[Row], list[list[Estimate | None]]]:
    """Rows on the same tasks and, for each, the probability that one of its runs beats one of each other row on a task."""
    rows = rivals(table)[:MOST_CURVES]
    ends = [row.outcome.last for row in rows]  # (N, K) each
    matrix: list[list[Estimate | None]] = [[None] * len(rows) for _ in rows]
    for first, second in combinations(range(len(rows)), 2):
        ahead = pooled_probability([wins_of(ends[first], ends[second])])
        matrix[first][second], matrix[second][first] = ahead, _opposite(ahead)
    return rows, matrix


def _opposite(ahead: Estimate) -> Estimate:
    """The probability of the reverse; a tie counts half on both sides."""
    reverse = ahead.interval and replace(ahead.interval, low=1 - ahead.interval.high, high=1 - ahead.interval.low)
    return Estimate(1 - ahead.value, reverse)


def _ranked(method: str, rows: Sequence[Row | None]) -> Ranked:
    present = [row for row in rows if row is not None]
    scores = [row.scores for row in present if row.scores.size]
    ranked = len(scores) == len(rows) and not any(row.set_apart for row in present)
    overall = pooled_difference(scores) if ranked else None
    return Ranked(method, present[0].label, tuple(rows), overall, is_source(present[0]))


def _order(entry: Ranked) -> tuple[bool, int, float, str]:
    missing = sum(row is None or row.normalised_score is None for row in entry.rows)
    return entry.overall is None, missing, -(entry.overall.value if entry.overall else 0.0), entry.method
