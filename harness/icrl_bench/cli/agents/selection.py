"""Which run a command is about: one argument that several commands take."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from icrl_bench.cli.options import LeaderboardPlace
from icrl_registry.errors import UsageError

if TYPE_CHECKING:
    from icrl_leaderboards.runs.record import RunRecord

MOST_RUNS = 200  # that a shell offers


def complete_runs(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids of recorded runs, each with what it is, and `latest`."""
    with suppress(Exception):  # a TAB never ends in a traceback
        given = {name: ctx.params.get(name) for name in ("home", "leaderboard")}
        with LeaderboardPlace(**given).open() as board:
            ids = [each for each in board.run_ids() if each.startswith(incomplete)][:MOST_RUNS]
            found = [(run.run_id, f"{run.label} on {run.environment}, seed {run.seed}") for run in board.stream(ids)]
        return [("latest", "the newest run"), *found] if "latest".startswith(incomplete) else found
    return []


RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, a beginning of it, or latest.", autocompletion=complete_runs)
]


def find_record(place: LeaderboardPlace, name: str) -> RunRecord:
    """The run that an id, a beginning of one, or `latest` names.

    Raises:
        UnknownNameError: no such run. UsageError: several, or none is recorded.
    """
    with place.open() as board:
        if name != "latest":
            return next(iter(board.runs(run_ids=board.find_runs([name]))))
        newest = max(board.stream(board.run_ids()), key=lambda record: record.created_at, default=None)
    if newest is None:
        raise UsageError(f"no run is recorded in {place.location}", "`icrl-bench run` records one")
    return newest
