"""`icrl-bench leaderboard compare`: two methods or runs on equal tasks and seeds, with a verdict."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Annotated

import typer

from icrl_bench.cli import completion
from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.leaderboard.selection import FieldFilters
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace
from icrl_registry.errors import EXIT_VERIFICATION, UsageError


@takes_groups
def compare(
    ours: Annotated[
        str,
        typer.Argument(
            metavar="A", help='A method, "METHOD (SETTING=VALUE)", or a run id.', autocompletion=completion.methods
        ),
    ],
    theirs: Annotated[
        str,
        typer.Argument(
            metavar="B", help="What to compare it with, such as the last release.", autocompletion=completion.methods
        ),
    ],
    filters: FieldFilters,
    *,
    fail_on_regression: Annotated[
        bool,
        typer.Option(
            "--fail-on-regression",
            help="Exit with 5 if A is worse than B in an environment or over all: the whole interval is below 0.",
        ),
    ] = False,
    place: LeaderboardPlace,
    json_: JsonFlag = False,
) -> None:
    """Compare A with B on equal tasks and seeds: differences with intervals, probability of improvement, a verdict."""
    from icrl_leaderboards.analysis.comparison import compare as compare_runs
    from icrl_leaderboards.wording.cells import without_marks
    from icrl_leaderboards.wording.comparisons import print_comparisons, regression_message, verdict_in_words

    ours, theirs = without_marks(ours), without_marks(theirs)
    with filters.open(place) as board:
        runs = board.scores(**filters.chosen)
        location, recorded = board.place, board.names("method")
    for name in (ours, theirs):
        _require_chosen(name, {run.method for run in runs}, recorded)
    comparisons = compare_runs(runs, ours, theirs)
    if json_:
        documents = [{**each.as_json(), "verdict_text": verdict_in_words(each)} for each in comparisons]
        typer.echo(json.dumps({"leaderboard": location, "comparisons": documents}, allow_nan=False))
    else:
        print_comparisons(comparisons)
    message = regression_message(comparisons)
    if fail_on_regression and message:
        typer.echo(message, err=True)
        raise typer.Exit(EXIT_VERIFICATION)


def _require_chosen(name: str, chosen: Collection[str], recorded: Collection[str]) -> None:
    """Refuses a method that was recorded, but not in the environment, protocol and track that were asked for."""
    if name in recorded and name not in chosen:
        raise UsageError(
            f"'{name}' has no runs in the environment, protocol and track asked for",
            "leave out --env, --protocol or --track; runs of different ones are never compared",
        )
