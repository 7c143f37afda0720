"""The leaderboard in a terminal: one table per environment, protocol and track, floors and oracle among the methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from icrl_leaderboards.formatting import MISSING, count, decimals_for, duration, number, with_interval
from icrl_leaderboards.records import RunRecord
from icrl_leaderboards.scores import RunScores
from icrl_leaderboards.summary import Reference, Row, Table, group_runs, tables_of
from icrl_leaderboards.text import shorten, visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: Below this width a table is printed in two parts: results, then costs.
WIDE = 140
LABEL_LIMIT = 40
SEEDS_SHOWN = 6

RESULT_COLUMNS = ("seeds", "first episode", "last 10 %", "best", "improvement", "normalised score")
COST_COLUMNS = ("parameters", "train steps", "adapt steps", "time")
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

    title = Text(
        "\n" + " · ".join(shorten(part, LABEL_LIMIT) for part in (table.environment, table.protocol, table.track))
    )
    title.stylize("bold")
    groups = [RESULT_COLUMNS + COST_COLUMNS] if width >= WIDE else [RESULT_COLUMNS, COST_COLUMNS]
    grids = [_grid(table, columns, with_references=columns is not COST_COLUMNS) for columns in groups]
    notes = [Text(note, style="dim") for note in notes_of(table)]
    return [title, *grids, *notes]


def _grid(table: Table, columns: Sequence[str], with_references: bool) -> RenderableType:
    from rich import box
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    grid.add_column("method", overflow="fold", min_width=10)
    for column in columns:
        narrow = column in ("improvement", "normalised score")  # a value and its interval: breaks into two lines
        grid.add_column(column, justify="right", overflow="fold", no_wrap=not narrow and column != "first episode")
    for entry in table.ranked if with_references else table.rows:
        cells = _cells(entry, table)
        style = "italic dim" if isinstance(entry, Reference) else ""
        grid.add_row(*[Text(cells.get(column, ""), style=style) for column in ("method", *columns)])
    return grid


def _cells(entry: Row | Reference, table: Table) -> dict[str, str]:
    decimals = table_decimals(table)
    if isinstance(entry, Reference):
        score = MISSING if entry.normalised_score is None else number(entry.normalised_score, 2)
        return {"method": entry.name, "last 10 %": number(entry.value, decimals), "normalised score": score}
    return {
        "method": shorten(entry.label, LABEL_LIMIT) + "".join(marks_of(entry)),
        "seeds": seeds_text(entry.seeds),
        "first episode": number(entry.first_episode.value, decimals),
        "last 10 %": number(entry.last_episodes.value, decimals),
        "best": number(entry.best_episode, decimals),
        "improvement": with_interval(entry.improvement, decimals, signed=True),
        "normalised score": with_interval(entry.normalised_score, 2),
        "parameters": count(entry.head.parameters),
        "train steps": count(entry.mean_of("train_env_steps")),
        "adapt steps": count(entry.mean_of("adapt_env_steps")),
        "time": duration(sum(entry.seconds.values())),
    }


def table_decimals(table: Table) -> int:
    """Decimals for all returns of one table."""
    values = [reference.value for reference in table.references]
    for row in table.rows:
        values += [row.first_episode.value, row.last_episodes.value, row.best_episode]
    return decimals_for(values)


def seeds_text(seeds: Sequence[int]) -> str:
    """`0, 1, 2`, or their number where there are many."""
    return ", ".join(map(str, seeds)) if len(seeds) <= SEEDS_SHOWN else f"{len(seeds)} seeds"


# --- What a reader must know to read the numbers right -------------------------------------------------------------------

_MARKS = (("¹", "one_seed"), ("²", "flagged"), ("³", "superseded"), ("⁴", "mixed"))


def marks_of(row: Row) -> list[str]:
    """The marks of the notes that hold for a row."""
    holds = {
        "one_seed": len(row.seeds) == 1,
        "flagged": bool(row.flagged_tasks),
        "superseded": bool(row.superseded),
        "mixed": row.mixed_plugins,
    }
    return [mark for mark, name in _MARKS if holds[name]]


def notes_of(table: Table) -> list[str]:
    """One line on how to read the table, and one for each mark in it."""
    marks = {mark for row in table.rows for mark in marks_of(row)}
    flagged = sorted({visible(label) for row in table.rows for label in row.flagged_tasks})
    texts: dict[str, Any] = {
        "¹": "one seed: the interval is over tasks only and says nothing of how another seed would do",
        "²": f"normalised score without {', '.join(flagged[:10])}: no oracle there, or none clearly better than random",
        "³": "older runs of the same seeds are left out; the newest of each seed counts",
        "⁴": "its runs were made with different states of a plugin",
    }
    shape = table.rows[0].returns.shape
    head = (
        f"{shape[1]} unseen tasks × {shape[2]} episodes; [95 % interval: bootstrap over seeds, then tasks]; "
        "score 0 = random, 1 = oracle (the source trained on the task itself)"
    )
    return [head, *[f"{mark} {text}" for mark, text in texts.items() if mark in marks]]
