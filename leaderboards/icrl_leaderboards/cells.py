"""The cells of a leaderboard table as text, for the terminal and the reports alike, and the notes that explain its marks."""

from __future__ import annotations

from collections.abc import Sequence

from icrl_leaderboards.formatting import MISSING, count, decimals_for, duration, number, with_interval
from icrl_leaderboards.summary import Reference, Row, Table
from icrl_leaderboards.text import shorten

LABEL_LIMIT = 40
SEEDS_SHOWN = 6
SETTINGS_SHOWN = 6
TASKS_SHOWN = 5

RESULT_COLUMNS = ("seeds", "first episode", "last 10 %", "best", "improvement", "normalised score")
COST_COLUMNS = ("parameters", "train steps", "adapt steps", "time")


def cells_of(entry: Row | Reference, table: Table, separator: str) -> dict[str, str]:
    """What stands in each column; `separator` comes between an estimate and its interval."""
    decimals = table_decimals(table)
    if isinstance(entry, Reference):
        score = MISSING if entry.normalised_score is None else number(entry.normalised_score, 2)
        return {"method": entry.name, "last 10 %": number(entry.value, decimals), "normalised score": score}
    return {
        "method": shorten(entry.head.method, LABEL_LIMIT) + "".join(marks_of(entry)),
        "seeds": seeds_text(entry.seeds),
        "first episode": number(entry.first_episode.value, decimals),
        "last 10 %": number(entry.last_episodes.value, decimals),
        "best": number(entry.best_episode, decimals),
        "improvement": with_interval(entry.improvement, decimals, signed=True, separator=separator),
        "normalised score": with_interval(entry.normalised_score, 2, separator=separator),
        "parameters": count(entry.head.parameters),
        "train steps": count(entry.mean_of("train_env_steps")),
        "adapt steps": count(entry.mean_of("adapt_env_steps")),
        "time": duration(sum(entry.seconds.values())),
    }


def settings_of(row: Row) -> list[str]:
    """The settings in which a row differs from its protocol, each shortened, at most `SETTINGS_SHOWN` of them."""
    shown = [shorten(setting, LABEL_LIMIT) for setting in row.settings[:SETTINGS_SHOWN]]
    hidden = len(row.settings) - SETTINGS_SHOWN
    return [*shown, f"and {hidden} more settings"] if hidden > 0 else shown


def table_decimals(table: Table) -> int:
    """Decimals for all returns of one table."""
    values = [reference.value for reference in table.references]
    for row in table.rows:
        values += [row.first_episode.value, row.last_episodes.value, row.best_episode]
    return decimals_for(values)


def seeds_text(seeds: Sequence[int]) -> str:
    """`0, 2`, `0–2` where they follow each other, or their number where there are many."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
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
    texts = {
        "¹": "one seed: the interval is over tasks only and says nothing of how another seed would do",
        "²": f"normalised score without {_flagged_text(table)}: no oracle, or none clearly better than random",
        "³": "older runs of the same seeds are left out; the newest of each seed counts",
        "⁴": "its runs were made with different states of a plugin",
    }
    shape = table.rows[0].returns.shape  # (N, K, E)
    head = (
        f"{shape[1]} unseen tasks × {shape[2]} episodes; 95 % intervals by bootstrap over seeds, then tasks; "
        "score 0 = random, 1 = oracle (the source trained on the task itself)"
    )
    return [head, *[f"{mark} {text}" for mark, text in texts.items() if mark in marks]]


def _flagged_text(table: Table) -> str:
    labels = sorted({label for row in table.rows for label in row.flagged_tasks})
    if any(len(row.flagged_tasks) == row.returns.shape[1] for row in table.rows):
        return "any task"
    shown = ", ".join(shorten(label, LABEL_LIMIT) for label in labels[:TASKS_SHOWN])
    return shown if len(labels) <= TASKS_SHOWN else f"{shown} and {len(labels) - TASKS_SHOWN} more tasks"
