"""The columns that a leaderboard table can have: what each shows of a row, and how rows are sorted by it.

The names are those of the JSON output, so what a script reads as `score_iqm` a reader asks for as `--columns score_iqm`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icrl_leaderboards.analysis.statistics.intervals import Estimate
from icrl_leaderboards.analysis.statistics.measures import EPISODES_TO_ORACLE, MEASURES, SCORE_DECIMALS, value_of
from icrl_leaderboards.analysis.summary import ESTIMATES, Reference, Row, Table
from icrl_leaderboards.wording.formatting import MISSING, count, duration, number, with_interval
from icrl_registry.errors import unknown_name

SEEDS_SHOWN = 6
_NEVER = "never"


@dataclass(frozen=True)
class Column:
    """One column: its name on the command line, its heading, its text for a row, and what rows are sorted by."""

    name: str
    label: str
    text: Callable[
        [Row, int, str], str
    ]  # of a row, the table's decimals of returns, and the separator before an interval
    value: Callable[[Row], float | None]
    highest_first: bool = True
    of_reference: Callable[[Reference], float | None] | None = (
        None  # what a floor or oracle has here, if it can have any
    )
    reference_decimals: int | None = None  # None: the table's decimals of returns
    of_scores: bool = False  # whether it means nothing for a row whose scores are set apart


def _value_of(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _plain(name: str, label: str, value: Callable[[Row], Estimate]) -> Column:
    """An estimate without its interval, which would not fit."""
    return Column(
        name, label, lambda row, decimals, _: number(value(row).value, decimals), lambda row: value(row).value
    )


def _measured(name: str) -> Column:
    """A statistic with its interval, computed when it is first asked for."""
    measure = MEASURES[name]

    def estimate(row: Row) -> Estimate | None:
        return getattr(row, name) if name in ESTIMATES else row.statistics[name]

    def text(row: Row, decimals: int, separator: str) -> str:
        shown = measure.decimals_in(decimals)
        words = with_interval(estimate(row), shown, signed=measure.is_difference, separator=separator)
        return _in_brackets(words, row) if measure.normalised else words

    return Column(
        name,
        measure.label,
        text,
        lambda row: value_of(name, row.outcome),
        highest_first=measure.higher_is_better,
        of_scores=measure.normalised,
    )


def _in_brackets(words: str, row: Row) -> str:
    """A score that is set apart, so that it doesn't look like one that ranks."""
    return f"({words})" if row.set_apart and words != MISSING else words


def _reached(row: Row, _: int, separator: str) -> str:
    reached = row.statistics[EPISODES_TO_ORACLE]
    if reached is not None and reached.interval is not None and np.isinf(reached.interval.low):
        return _NEVER  # in no resample
    return with_interval(reached, 0, separator=separator, infinite=_NEVER)


def _count_of(name: str, label: str) -> Column:
    return Column(name, label, lambda row, *_: count(row.mean_of(name)), lambda row: row.mean_of(name), False)


_RESULTS = (
    Column("seeds", "seeds", lambda row, *_: seeds_text(row.seeds), lambda row: len(row.seeds)),
    Column(
        "first_episode",
        "first episode",
        lambda row, decimals, _: number(row.first_episode.value, decimals),
        lambda row: value_of("first_episode", row.outcome),
    ),
    Column(
        "last_episodes",
        "last 10 %",
        lambda row, decimals, _: number(row.last_episodes.value, decimals),
        lambda row: row.mean_return,
        of_reference=lambda reference: reference.value,
    ),
    Column(
        "best_episode",
        "best",
        lambda row, decimals, _: number(row.best_episode, decimals),
        lambda row: row.best_episode,
    ),
    _measured("improvement"),
    Column(
        "normalised_score",
        "normalised score",
        lambda row, _, separator: _in_brackets(
            with_interval(row.normalised_score, SCORE_DECIMALS, separator=separator), row
        ),
        lambda row: value_of("score_mean", row.outcome),
        of_reference=lambda reference: reference.normalised_score,
        reference_decimals=SCORE_DECIMALS,
        of_scores=True,
    ),
)
_COSTS = (
    Column(
        "parameters",
        "parameters",
        lambda row, *_: count(row.head.parameters),
        lambda row: row.head.parameters,
        highest_first=False,
    ),
    _count_of("train_env_steps", "train steps"),
    _count_of("adapt_env_steps", "adapt steps"),
    Column(
        "seconds",
        "time",
        lambda row, *_: duration(sum(row.seconds.values())),
        lambda row: sum(row.seconds.values()),
        highest_first=False,
    ),
)
_SHOWN_ALREADY = {"first_episode", "last_episodes", "improvement", "score_mean"}
_ON_REQUEST = (
    Column("num_episodes", "episodes", lambda row, *_: f"{row.num_episodes:,}", lambda row: row.num_episodes),
    *(_measured(name) for name in MEASURES if name not in _SHOWN_ALREADY),
    Column(
        EPISODES_TO_ORACLE,
        "episodes to 80 %",
        _reached,
        lambda row: value_of(EPISODES_TO_ORACLE, row.outcome),
        highest_first=False,
        of_scores=True,
    ),
    _count_of("collect_env_steps", "collect steps"),
)
COLUMNS: Mapping[str, Column] = {column.name: column for column in (*_RESULTS, *_COSTS, *_ON_REQUEST)}
RESULT_NAMES = tuple(column.name for column in _RESULTS)
COST_NAMES = tuple(column.name for column in _COSTS)
DEFAULT_COLUMNS = RESULT_NAMES + COST_NAMES
DEFAULT_SORT = "last_episodes"


def choose_columns(names: Sequence[str]) -> list[Column]:
    """The columns of these names, in their order.

    Raises:
        UnknownNameError: with the nearest names.
    """
    return [choose_column(name) for name in dict.fromkeys(names)]


def choose_column(name: str) -> Column:
    """The column of this name; `-` counts as `_`."""
    wanted = name.strip().replace("-", "_")
    if wanted not in COLUMNS:
        raise unknown_name("column", name, COLUMNS)
    return COLUMNS[wanted]


def default_columns(table: Table) -> list[Column]:
    """The usual columns of a table; beside the normalised score the headroom score, where a row has one."""
    names = list(DEFAULT_COLUMNS)
    if any(row.outcome.headroom_scores.size for row in table.rows):
        names.insert(names.index("normalised_score") + 1, "headroom_score")
    return choose_columns(names)


def sorted_entries(table: Table, column: Column) -> list[Row | Reference]:
    """Rows and references by `column`, best first.

    Those without a number in it, and by a score those whose scores are set apart, are at the end, in their usual order.
    """

    def key(entry: Row | Reference) -> tuple[bool, float]:
        if isinstance(entry, Row):
            value = None if column.of_scores and entry.set_apart else column.value(entry)
        else:
            value = column.of_reference(entry) if column.of_reference else None
        if value is None or np.isnan(value):
            return True, 0.0
        return False, -value if column.highest_first else value

    return sorted(table.ranked, key=key)


def seeds_text(seeds: Sequence[int]) -> str:
    """`0, 2`, `0–2` where they follow each other, or their number where there are many."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds)) if len(seeds) <= SEEDS_SHOWN else f"{len(seeds)} seeds"
