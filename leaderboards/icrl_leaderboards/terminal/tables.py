"""The leaderboard in a terminal: one table per environment, protocol and track, floors and oracle among the methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from icrl_leaderboards.analysis.summary import Reference, Row, Table, compute_estimates, group_runs, tables_of
from icrl_leaderboards.runs.certificates import Certificate
from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.runs.scores import RunScores
from icrl_leaderboards.wording.cells import LABEL_LIMIT, cells_of, notes_of, settings_of
from icrl_leaderboards.wording.certificates import certificate_line
from icrl_leaderboards.wording.columns import (
    DEFAULT_SORT,
    Column,
    choose_column,
    choose_columns,
    default_columns,
    sorted_entries,
)
from icrl_leaderboards.wording.text import shorten

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: From this width on an interval stands beside its estimate, below it underneath.
WIDE = 140
_GAP = 2
_NARROWEST_METHOD = 12
EMPTY = "no runs yet; `icrl-bench run --method ad-mamba --env pusher-goal` makes the first"


def print_leaderboard(
    runs: Sequence[RunRecord | RunScores],
    console: Console | None = None,
    columns: Sequence[str] | None = None,
    sort: str = DEFAULT_SORT,
    limit: int = 0,
    certificates: Mapping[tuple[str, str], Certificate] | None = None,
) -> None:
    """Prints the runs, grouped over seeds, as tables that fit the terminal; of each the best `limit` rows, 0 for all.

    Without `columns` a table has its `default_columns`. `certificates`, by environment and protocol, say below each table
    whether its environment tests learning in context.

    Raises:
        UnknownNameError: a column, or what to sort by, is none of `columns.COLUMNS`.
    """
    from rich.console import Console
    from rich.text import Text

    chosen, order = None if columns is None else choose_columns(columns), choose_column(sort)
    console = console or Console(highlight=False)
    if not runs:
        console.print(Text(EMPTY))
        return
    scores = [RunScores.from_record(run) if isinstance(run, RunRecord) else run for run in runs]
    for table in tables_of(group_runs(scores, estimates=False)):
        entries = sorted_entries(table, order)
        rows = [entry for entry in entries if isinstance(entry, Row)]
        shown = rows[: limit or None]
        compute_estimates(shown)
        hidden = {id(row) for row in rows[len(shown) :]}
        entries = [entry for entry in entries if id(entry) not in hidden]
        wanted = chosen or default_columns(table)
        for part in render_table(replace(table, rows=tuple(shown)), entries, console.width, wanted):
            console.print(part)
        if certificates is not None and (table.environment, table.protocol) in certificates:
            words = certificate_line(certificates[table.environment, table.protocol])
            console.print(Text(f"certificate: {words}", style="dim"))
        if hidden:
            console.print(
                Text(f"{len(hidden):,} more rows: --limit {2 * limit} shows more, --limit 0 all", style="dim")
            )


def render_table(
    table: Table, entries: Sequence[Row | Reference], width: int, columns: Sequence[Column]
) -> list[RenderableType]:
    """What to print for one table at a terminal width: a title, as many grids as the columns need, and the notes.

    Everything that came from outside is put in as plain text, never as markup.
    """
    from rich.text import Text

    name = (shorten(part, LABEL_LIMIT) for part in (table.environment, table.protocol, table.track))
    parts: list[RenderableType] = [Text("\n" + " · ".join(name), style="bold")]
    wide = width >= WIDE
    cells = [cells_of(entry, table, " " if wide else "\n", columns) for entry in entries]
    for entry, texts in zip(entries, cells, strict=True):
        if isinstance(entry, Row):
            texts["method"] = "\n".join([texts["method"], *(f"  {setting}" for setting in _settings(entry, wide))])
    for index, group in enumerate(_groups(cells, columns, width, wide)):
        if index:
            parts.append(Text())
        parts.append(_grid(entries, cells, group, wide))
    return [*parts, *(Text(note, style="dim") for note in notes_of(table))]


def _groups(cells: Sequence[dict[str, str]], columns: Sequence[Column], width: int, wide: bool) -> list[list[Column]]:
    """The columns in as few grids as fit the width side by side; a grid holds at least one."""
    method = max(_widest(entry["method"]) for entry in cells)
    groups: list[list[Column]] = []
    left = 0
    for column in columns:
        texts = [_heading(column, wide), *(entry.get(column.label, "") for entry in cells)]
        needed = _GAP + max(map(_widest, texts))
        if not groups or needed > left:
            groups.append([])
            left = width - max(_NARROWEST_METHOD, min(method, width // 4))
        groups[-1].append(column)
        left -= needed
    return groups


def _widest(text: str) -> int:
    return max(map(len, text.split("\n")))


def _heading(column: Column, wide: bool) -> str:
    return column.label if wide else column.label.replace(" ", "\n", 1)


def _grid(
    entries: Sequence[Row | Reference], cells: Sequence[dict[str, str]], columns: Sequence[Column], wide: bool
) -> RenderableType:
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True, show_edge=False)
    grid.add_column("method", overflow="fold", min_width=_NARROWEST_METHOD)
    for column in columns:
        grid.add_column(_heading(column, wide), justify="right", overflow="fold", no_wrap=True)
    for entry, texts in zip(entries, cells, strict=True):
        if isinstance(entry, Reference) and not any(column.label in texts for column in columns):
            continue  # a floor or oracle that has nothing to show in this grid
        style = "italic dim" if isinstance(entry, Reference) else ""
        values = [texts["method"], *(texts.get(column.label, "") for column in columns)]
        grid.add_row(*[Text(value, style=style) for value in values])
    return grid


def _settings(row: Row, wide: bool) -> list[str]:
    """The settings, in a narrow terminal without the section that they belong to."""
    settings = settings_of(row)
    return settings if wide else [setting.partition(".")[2] or setting for setting in settings]
