"""Which data sets a command is about, and how sizes and numbers are written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.options import LeaderboardPlace, home_folder

if TYPE_CHECKING:
    from icrl_bench.artefacts.datasets import Dataset
    from icrl_leaderboards.runs.record import RunRecord

Selector = Annotated[
    str | None, typer.Argument(help="An address or its beginning, or an environment's name.  [default: all data sets]")
]


def select(home: Path | None, selector: str | None) -> list[Dataset]:
    from icrl_bench.artefacts.datasets import list_datasets
    from icrl_bench.artefacts.store import Store
    from icrl_registry.errors import unknown_name

    datasets = list_datasets(Store(home_folder(home)))
    if selector is None:
        return datasets
    chosen = [
        dataset
        for dataset in datasets
        if dataset.address.startswith(selector) or dataset.about["environment"].startswith(selector)
    ]
    if not chosen:
        names = [name for dataset in datasets for name in (dataset.address, dataset.about["environment"])]
        raise unknown_name("data set", selector, names, "icrl-bench data list")
    return chosen


def size(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e7 else f"{count / 1e3:,.0f} kB"


def number(value: Any) -> str:
    return "–" if value is None else f"{value:.2f}"


def rows_of(place: LeaderboardPlace) -> list[RunRecord]:
    """The rows of the leaderboard; none where there is no database yet, which is not made for the question."""
    if place.leaderboard is None and not Path(place.location).exists():
        return []
    with place.open() as board:
        return board.runs()
