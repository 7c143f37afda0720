"""Figures: a file a kind, each with `figures(data) -> list[Figure]`. A new kind is a file here and its name in `KINDS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from icrl_leaderboards.analysis.summary import Table
from icrl_leaderboards.report.styles import LineStyle
from icrl_leaderboards.runs.record import RunRecord
from icrl_registry.errors import unknown_name

if TYPE_CHECKING:
    from icrl_leaderboards.report.figures.figure import Figure

#: Every kind of figure, in the order of the page. `icrl-bench leaderboard figure KIND` knows the same.
KINDS = ("curves", "tasks", "profile", "cost", "setting", "claims")


@dataclass(frozen=True, eq=False)
class FigureData:
    """What a figure of one table is drawn from."""

    table: Table
    styles: Mapping[str, LineStyle]  # by row label
    records: Mapping[str, RunRecord] = field(default_factory=dict)  # full records that are at hand, by run id
    name: str = "figure"  # what the names of its figures begin with


def require_kind(kind: str) -> None:
    """Refuses what is no kind of figure.

    Raises:
        UnknownNameError: with the kinds that there are.
    """
    if kind not in KINDS:
        raise unknown_name("figure", kind, KINDS, "icrl-bench leaderboard figure --help")


def make_figures(kind: str, data: FigureData) -> list[Figure]:
    """The figures of one kind, the principal one first; none where the table has nothing for it."""
    made: list[Figure] = import_module(f"{__name__}.{kind}").figures(data)
    return made
