"""Which runs a leaderboard command reads: the filters that several commands share, and opening the leaderboard with them."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from icrl_bench.cli import completion
from icrl_bench.cli.groups import OptionGroup
from icrl_bench.cli.options import LeaderboardPlace

if TYPE_CHECKING:
    from icrl_leaderboards.database.filters import RunFilter
    from icrl_leaderboards.database.leaderboard import Leaderboard

EnvFilter = Annotated[
    str | None,
    typer.Option(
        "--env", "-e", help="Only this environment; all versions without one.", autocompletion=completion.environments
    ),
]
MethodFilter = Annotated[
    str | None,
    typer.Option("--method", "-m", help="Only this method, such as ad-mamba.", autocompletion=completion.methods),
]
ProtocolFilter = Annotated[
    str | None,
    typer.Option(
        "--protocol", "-p", help="Only this protocol; all versions without one.", autocompletion=completion.protocols
    ),
]
TrackFilter = Annotated[str | None, typer.Option("--track", help="Only this track: online or offline.")]


@dataclass(frozen=True)
class FieldFilters(OptionGroup):
    """Runs that may be compared: of one environment, protocol and track."""

    env: EnvFilter = None
    protocol: ProtocolFilter = None
    track: TrackFilter = None

    @property
    def chosen(self) -> RunFilter:
        """What was asked for."""
        return {"environment": self.env, "protocol": self.protocol, "track": self.track}

    def open(self, place: LeaderboardPlace) -> Leaderboard:
        """The leaderboard, in which every name that was asked for occurs.

        Raises:
            UnknownNameError: with the nearest names that were recorded.
        """
        board = place.open()
        board.require_names(**self.chosen)
        return board


@dataclass(frozen=True)
class Filters(FieldFilters):
    """Runs of a method as well."""

    method: MethodFilter = None

    @property
    def chosen(self) -> RunFilter:
        """What was asked for."""
        return {**super().chosen, "method": self.method}


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection inside: ten thousand runs are a million objects that stay, and looking through them again and
    again takes a fifth of the time of showing them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
