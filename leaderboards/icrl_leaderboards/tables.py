"""The leaderboard in a terminal: one table per environment, protocol and track, floors and oracle among the methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from icrl_leaderboards.cells import COST_COLUMNS, LABEL_LIMIT, RESULT_COLUMNS, cells_of, notes_of, settings_of
from icrl_leaderboards.records import RunRecord
from icrl_leaderboards.scores import RunScores
from icrl_leaderboards.summary import Reference, Row, Table, group_runs, tables_of
from icrl_leaderboards.text import shorten

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: Below this width a table is printed in two parts: results, then costs.
WIDE = 140
EMPTY = "no runs yet; `icrl-bench run --method ad-mamba --env pusher-goal` makes the first"


def print_leaderboard(runs: Sequence[RunRecord | RunScores], console: Console | None = None) -> None:
    """Prints the runs, grouped over seeds, as tables that fit the terminal."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console(highlight=False)
    if not runs:
        console.print(Text(EMPTY))
        return
    scores = [RunScores.from_record(run) if isinstance(run, RunRecord) else run for run in runs]
    for table in tables_of(group_runs(scores)):
        for part in render_table(table, console.width):
            console.print(part)


def render_table(table: Table, width: int) -> list[RenderableType]:
    """What to print for one table at a terminal width: a title, one or two grids of columns, and the notes.

    Everything that came from outside is put in as plain text, never as markup.
    """
    from rich.text import Text

    name = (shorten(part, LABEL_LIMIT) for part in (table.environment, table.protocol, table.track))
    title = Text("\n" + " · ".join(name), style="bold")
    notes = [Text(note, style="dim") for note in notes_of(table)]
    if width >= WIDE:
        return [title, _grid(table, RESULT_COLUMNS + COST_COLUMNS, wide=True), *notes]
    return [title, _grid(table, RESULT_COLUMNS, wide=False), Text(), _grid(table, COST_COLUMNS, wide=False), *notes]


def _grid(table: Table, columns: Sequence[str], wide: bool) -> RenderableType:
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True, show_edge=False)
    grid.add_column("method", overflow="fold", min_width=12)
    for column in columns:
        header = column if wide or column in COST_COLUMNS else column.replace(" ", "\n", 1)
        grid.add_column(header, justify="right", overflow="fold", no_wrap=True)
    for entry in table.ranked if "last 10 %" in columns else table.rows:
        cells = cells_of(entry, table, " " if wide else "\n")
        if isinstance(entry, Row):
            cells["method"] = "\n".join([cells["method"], *(f"  {setting}" for setting in _settings(entry, wide))])
        style = "italic dim" if isinstance(entry, Reference) else ""
        grid.add_row(*[Text(cells.get(column, ""), style=style) for column in ("method", *columns)])
    return grid


def _settings(row: Row, wide: bool) -> list[str]:
    """The settings, in a narrow terminal without the section that they belong to."""
    settings = settings_of(row)
    return settings if wide else [setting.partition(".")[2] or setting for setting in settings]
