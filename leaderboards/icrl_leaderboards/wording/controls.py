"""What a table says of its rows' controls: a column, where one of them has a control, and what it means."""

from __future__ import annotations

from collections.abc import Sequence

from icrl_leaderboards.analysis.controls import ControlRows, control_of
from icrl_leaderboards.analysis.summary import Row
from icrl_leaderboards.wording.columns import COLUMNS

CONTROL_COLUMN = "with shuffled rewards"
CONTROL_NOTE = (
    f"{CONTROL_COLUMN}: the normalised score of the same agents, shown another task's rewards; what is left of it was not "
    "learned from rewards (`icrl-bench grid --controls`)"
)


def control_columns(rows: Sequence[Row], controls: ControlRows) -> list[str]:
    """The column's heading if one of the rows has a control, or nothing."""
    return [CONTROL_COLUMN] if any(control_of(row, controls) for row in rows) else []


def control_cell(row: Row, controls: ControlRows) -> dict[str, str]:
    """The cell under the heading: the control's score and its interval; empty for a row without a control."""
    control = control_of(row, controls)
    return {CONTROL_COLUMN: "" if control is None else COLUMNS["normalised_score"].text(control, 0, " ")}


def control_notes(rows: Sequence[Row], controls: ControlRows) -> list[str]:
    """What the column means, if it is there."""
    return [CONTROL_NOTE for _ in control_columns(rows, controls)]
