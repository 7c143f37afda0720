"""A comparison in a terminal: a line per environment, a line over all, and the verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from icrl_leaderboards.analysis.comparison import Comparison, Pairing, outcome_of
from icrl_leaderboards.terminal.listing import print_listing
from icrl_leaderboards.wording.cells import LABEL_LIMIT
from icrl_leaderboards.wording.columns import seeds_text
from icrl_leaderboards.wording.formatting import decimals_for, number, with_interval
from icrl_leaderboards.wording.text import shorten

if TYPE_CHECKING:
    from rich.console import Console

_COLUMNS = ("seeds", "A\nB", "A − B", "score\nA − B", "P(A > B)")
_NAMED = 5  # environments that a sentence names
_OF_THE_WAY = "of the way from random to the oracle"


def print_comparisons(comparisons: Sequence[Comparison], console: Console | None = None) -> None:
    """Prints each comparison as a table that fits the terminal, with its verdict and notes."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table as Grid
    from rich.text import Text

    console = console or Console(highlight=False)
    for comparison in comparisons:
        place = " · ".join(shorten(part, LABEL_LIMIT) for part in (comparison.protocol, comparison.track))
        console.print(Text(f"\n{place}", style="bold"))
        for letter, name in (("A", comparison.ours), ("B", comparison.theirs)):
            console.print(Text(f"{letter} = {shorten(name, LABEL_LIMIT)}"))
        grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True, show_edge=False)
        grid.add_column("environment", overflow="fold", min_width=15)
        for column in _COLUMNS:
            grid.add_column(column, justify="right", overflow="fold", no_wrap=True)
        for line in lines_of(comparison):
            grid.add_row(*map(Text, line))
        if Measurement.get(console, console.options.update(width=1000), grid).maximum <= console.width:
            console.print(grid)
        else:
            columns = ("environment", *(column.replace("\n", " ") for column in _COLUMNS))
            print_listing(columns, lines_of(comparison, " "), console, right=columns[-1:])
        console.print(Text(verdict_in_words(comparison), style="bold"))
        for note in notes_of(comparison):
            console.print(Text(note, style="dim"))


def lines_of(comparison: Comparison, separator: str = "\n") -> list[tuple[str, ...]]:
    """One line of cells per environment and, where there are several, one over all."""
    lines = [_line(pairing, separator) for pairing in comparison.pairings]
    if len(lines) > 1:
        difference = with_interval(comparison.score_difference, 2, signed=True, separator=separator)
        probability = with_interval(comparison.probability, 2, separator=separator)
        lines.append(("overall", "", "", "", difference, probability))
    return lines


def _line(pairing: Pairing, separator: str) -> tuple[str, ...]:
    decimals = decimals_for(pairing.returns)
    return (
        shorten(pairing.environment, LABEL_LIMIT),
        pairs_text(pairing),
        separator.join(number(value, decimals) for value in pairing.returns),
        with_interval(pairing.difference, decimals, signed=True, separator=separator),
        with_interval(pairing.score_difference, 2, signed=True, separator=separator),
        with_interval(pairing.probability, 2, separator=separator),
    )


def pairs_text(pairing: Pairing) -> str:
    """`0–2`, or `0 and 1` where a run of one seed stands against a run of another."""
    ours, theirs = zip(*pairing.seeds, strict=True)
    return seeds_text(ours) if ours == theirs else f"{seeds_text(ours)} and {seeds_text(theirs)}"


def verdict_in_words(comparison: Comparison) -> str:
    """One or two sentences: which is better and by how much, or that these runs do not show it."""
    ours, theirs = (shorten(name, LABEL_LIMIT) for name in (comparison.ours, comparison.theirs))
    estimate = comparison.decisive
    if estimate is None:
        return "No verdict over all: no task has both an oracle and a floor clearly below it to put environments on one scale."
    if comparison.score_difference is not None:
        amount = f"{with_interval(estimate, 2, signed=True)} {_OF_THE_WAY}"
    else:
        decimals = decimals_for(comparison.pairings[0].returns)
        amount = f"{with_interval(estimate, decimals, signed=True)} in return"
    where = comparison.pairings[0].environment if len(comparison.pairings) == 1 else None
    place = f"in {shorten(where, LABEL_LIMIT)}" if where else f"over {len(comparison.pairings)} environments"
    sentence = {
        "better": f"{ours} is better than {theirs} {place}: {amount}.",
        "worse": f"{ours} is worse than {theirs} {place}: {amount}.",
        "undecided": f"Undecided: {ours} − {theirs} {place} is {amount}{_why_undecided(comparison)}.",
    }[comparison.outcome]
    against = {"better": "worse", "worse": "better"}.get(comparison.outcome)
    others = [each.environment for each in comparison.pairings if outcome_of(each.decisive) == against]
    if others:
        sentence += f" But {against} in {', '.join(shorten(name, LABEL_LIMIT) for name in others[:_NAMED])}"
        sentence += f" and {len(others) - _NAMED} more." if len(others) > _NAMED else "."
    fewest = min(len(pairing.seeds) for pairing in comparison.pairings)
    return sentence + (" One pair of runs: another seed may say otherwise." if fewest == 1 else "")


def _why_undecided(comparison: Comparison) -> str:
    estimate = comparison.decisive
    if estimate is None or estimate.interval is None:
        return ", one number without an interval"
    return ", and the interval includes 0"


def notes_of(comparison: Comparison) -> list[str]:
    """How to read the table, and what it leaves out."""
    notes = [
        "last 10 % of the episodes, paired by task and seed; 95 % intervals by bootstrap over seeds, then tasks; "
        f"score: share {_OF_THE_WAY}; P(A > B): a run of A beats a run of B on a task"
    ]
    for pairing in comparison.pairings:
        name = shorten(pairing.environment, LABEL_LIMIT)
        if len(pairing.seeds) == 1:
            notes.append(f"{name}: one pair of runs; its intervals are over tasks only")
        if pairing.flagged_tasks:
            count = len(pairing.flagged_tasks)
            notes.append(f"{name}: {count} of {pairing.num_tasks} tasks have no oracle clearly better than random")
        if pairing.set_apart and len(pairing.flagged_tasks) < pairing.num_tasks:
            notes.append(f"{name}: scores are left out, the verdict is by return: {pairing.set_apart}")
        if pairing.num_episodes[0] != pairing.num_episodes[1]:
            first, second = pairing.num_episodes
            notes.append(f"{name}: A has {first} episodes a task and B {second}; each is taken at its own last 10 %")
    return notes + [f"left out: {text}" for text in comparison.left_out]


def regression_message(comparisons: Sequence[Comparison]) -> str | None:
    """What `--fail-on-regression` says, or None where A is worse nowhere."""
    places = [shorten(place, LABEL_LIMIT) for comparison in comparisons for place in comparison.regressions]
    return f"regression: A is worse than B: {', '.join(places)}" if places else None
