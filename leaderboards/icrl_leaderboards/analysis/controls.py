"""Rows beside their controls: the same trained agents, shown another task's rewards (`icrl-bench grid --controls`).

A control stands under a protocol of its own, since it is measured on other rewards, and is otherwise named as its row is. What
of a row's score stays in it was not learned from rewards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icrl_leaderboards.analysis.summary import Row, group_runs
from icrl_leaderboards.runs.scores import RunScores

RowName = tuple[str, str, str, str]
"""Environment, protocol, track, and the method with its settings."""

ControlRows = Mapping[RowName, Row]
"""The control of each row that has one, by the row's name."""


def control_rows(shuffled: Mapping[str, Sequence[RunScores]]) -> dict[RowName, Row]:
    """Pairs controls with rows; `shuffled` has the runs that are controls, by the protocol of the rows they belong to."""
    found: dict[RowName, Row] = {}
    for protocol, runs in shuffled.items():
        for row in group_runs(runs) if runs else []:
            found[row.head.environment, protocol, row.head.track, row.label] = row
    return found


def control_of(row: Row, controls: ControlRows) -> Row | None:
    """The control of a row, where it was made."""
    return controls.get((row.head.environment, row.head.protocol, row.head.track, row.label))
