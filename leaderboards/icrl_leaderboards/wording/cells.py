"""The cells of a leaderboard table as text, for the terminal and the reports alike, and the notes that explain its marks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from icrl_leaderboards.analysis.summary import Reference, Row, Table
from icrl_leaderboards.wording.columns import COLUMNS, COST_NAMES, DEFAULT_COLUMNS, RESULT_NAMES, Column
from icrl_leaderboards.wording.formatting import decimals_for, number
from icrl_leaderboards.wording.text import shorten

LABEL_LIMIT = 40
SETTINGS_SHOWN = 6
TASKS_SHOWN = 5

#: The headings of the usual columns.
RESULT_COLUMNS = tuple(COLUMNS[name].label for name in RESULT_NAMES)
COST_COLUMNS = tuple(COLUMNS[name].label for name in COST_NAMES)


def cells_of(
    entry: Row | Reference, table: Table, separator: str, columns: Sequence[Column] | None = None
) -> dict[str, str]:
    """What stands under each heading; `separator` comes between an estimate and its interval."""
    chosen = [COLUMNS[name] for name in DEFAULT_COLUMNS] if columns is None else columns
    decimals = table_decimals(table)
    if isinstance(entry, Reference):
        cells = {"method": entry.name}
        for column in chosen:
            if column.of_reference is not None:
                own = column.reference_decimals
                cells[column.label] = number(column.of_reference(entry), decimals if own is None else own)
        return cells
    method = shorten(entry.head.method, LABEL_LIMIT) + "".join(marks_of(entry))
    return {"method": method, **{column.label: column.text(entry, decimals, separator) for column in chosen}}


def settings_of(row: Row) -> list[str]:
    """The settings in which a row differs from its protocol, each shortened, at most `SETTINGS_SHOWN` of them."""
    shown = [shorten(setting, LABEL_LIMIT) for setting in row.settings[:SETTINGS_SHOWN]]
    hidden = len(row.settings) - SETTINGS_SHOWN
    return [*shown, f"and {hidden} more settings"] if hidden > 0 else shown


def table_decimals(table: Table) -> int:
    """Decimals for all returns of one table."""
    return decimals_for([table.largest_return])


# --- What a reader must know to read the numbers right -------------------------------------------------------------------

_MARKS = (("¹", "one_seed"), ("²", "flagged"), ("³", "superseded"), ("⁴", "mixed"), ("⁵", "set_apart"))


def marks_of(row: Row) -> list[str]:
    """The marks of the notes that hold for a row."""
    holds = {
        "one_seed": len(row.seeds) == 1,
        "flagged": bool(row.flagged_tasks),
        "superseded": bool(row.superseded),
        "mixed": row.mixed_plugins,
        "set_apart": bool(row.set_apart) and bool(row.outcome.usable.any()),
    }
    return [mark for mark, name in _MARKS if holds[name]]


def without_marks(name: str) -> str:
    """A name as a table prints it, without the marks behind it: `ad-mamba¹²` → `ad-mamba`."""
    return name.rstrip("".join(mark for mark, _ in _MARKS))


def notes_of(table: Table) -> list[str]:
    """One line on how to read the table, and one for each mark in it."""
    marks = {mark for row in table.rows for mark in marks_of(row)}
    texts = {
        "¹": "one seed: the interval is over tasks only and says nothing of how another seed would do",
        "²": f"normalised score without {_flagged_text(table)}: no oracle, or none clearly better than random",
        "³": "older runs of the same seeds are left out; the newest of each seed counts",
        "⁴": "its runs were made with different states of a plugin",
        "⁵": f"scores in brackets say little and rank nothing: {_set_apart_text(table)}",
    }
    head = (
        f"{table.rows[0].returns.shape[1]} unseen tasks × {_episodes_text(table)}; 95 % intervals by bootstrap over seeds, "
        "then tasks; score 0 = random, 1 = oracle (the source, trained on the task or told it)"
    )
    return [head, *[f"{mark} {text}" for mark, text in texts.items() if mark in marks]]


def _episodes_text(table: Table) -> str:
    """`50 episodes`, and what differs: a source's learning curve has more, and its statistics are over its own."""
    counts = Counter(row.num_episodes for row in table.rows)
    usual = min(counts, key=lambda episodes: (-counts[episodes], episodes))
    others = {row.head.method: row.num_episodes for row in table.rows if row.num_episodes != usual}
    if not others:
        return f"{usual:,} episodes"
    named = [f"{shorten(method, LABEL_LIMIT)} {episodes:,}" for method, episodes in sorted(others.items())]
    shown = ", ".join(named[:TASKS_SHOWN]) + (", …" if len(named) > TASKS_SHOWN else "")
    return f"{usual:,} episodes ({shown}, each taken over its own)"


def _set_apart_text(table: Table) -> str:
    reasons = dict.fromkeys(row.set_apart for row in table.rows if row.set_apart)
    return "; ".join(reasons)


def _flagged_text(table: Table) -> str:
    labels = sorted({label for row in table.rows for label in row.flagged_tasks})
    if any(len(row.flagged_tasks) == row.returns.shape[1] for row in table.rows):
        return "any task"
    shown = ", ".join(shorten(label, LABEL_LIMIT) for label in labels[:TASKS_SHOWN])
    return shown if len(labels) <= TASKS_SHOWN else f"{shown} and {len(labels) - TASKS_SHOWN} more tasks"
