"""Which runs a leaderboard command reads: the filters that several commands share, and opening the leaderboard with them."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icrl_bench.cli.options import leaderboard_url

if TYPE_CHECKING:
    from icrl_leaderboards.database.leaderboard import Leaderboard

EnvFilter = Annotated[str | None, typer.Option("--env", "-e", help="Only this environment; all versions without one.")]
MethodFilter = Annotated[str | None, typer.Option("--method", "-m", help="Only this method, such as ad-mamba.")]
ProtocolFilter = Annotated[
    str | None, typer.Option("--protocol", "-p", help="Only this protocol; all versions without one.")
]
TrackFilter = Annotated[str | None, typer.Option("--track", help="Only this track: online or offline.")]


def open_leaderboard(leaderboard: str | None, home: Path | None, **filters: str | None) -> Leaderboard:
    """The leaderboard, in which every name that was asked for (`environment`, `method`, `protocol`, `track`) occurs.

    Raises:
        UnknownNameError: with the nearest names that were recorded.
    """
    from icrl_leaderboards.database.leaderboard import Leaderboard

    board = Leaderboard(leaderboard_url(leaderboard, home))
    board.require_names(**filters)
    return board


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
