"""Which run a command is about: one argument that several commands take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from icrl_bench.cli import completion
from icrl_bench.cli.options import LeaderboardPlace
from icrl_registry.errors import UsageError

if TYPE_CHECKING:
    from icrl_leaderboards.runs.record import RunRecord

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, a beginning of it, or latest.", autocompletion=completion.runs)
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
