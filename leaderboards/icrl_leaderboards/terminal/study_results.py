"""A study's results: one row a cell for tables and JSON, and return against the settings that were varied as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icrl_leaderboards.analysis.statistics.intervals import Estimate
from icrl_leaderboards.analysis.summary import Row, group_runs
from icrl_leaderboards.database.studies import Study, StudyCell, cells
from icrl_leaderboards.drawing import COLOURS, drawing_style, require_format, save
from icrl_leaderboards.runs.record import format_value
from icrl_leaderboards.runs.scores import RunScores
from icrl_leaderboards.wording.formatting import decimals_for, with_interval
from icrl_leaderboards.wording.text import shorten
from icrl_registry.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = {"first_episode": "first episode", "last_episodes": "last 10 %", "normalised_score": "normalised"}
_LABEL_LIMIT = 40


@dataclass(frozen=True, eq=False)
class CellResult:
    """A cell with the row of its recorded seeds; None where nothing is recorded."""

    cell: StudyCell
    row: Row | None

    @property
    def status(self) -> str:
        """done, failed (with seeds missing), or missing."""
        if len(self.cell.scores) == len(self.cell.runs):
            return "done"
        return "failed" if any(run.error for run in self.cell.runs) else "missing"

    @property
    def error(self) -> str | None:
        """Why seeds are missing, if it is known."""
        return next((run.error for run in self.cell.runs if run.error), None) if self.status == "failed" else None

    def estimate(self, name: str) -> Estimate | None:
        """One of `MEASURES`."""
        return None if self.row is None else getattr(self.row, name)

    def as_json(self) -> dict[str, Any]:
        """The cell as `--json` prints it."""
        estimates = {name: self.estimate(name) for name in MEASURES}
        return {
            "settings": self.cell.settings,
            "status": self.status,
            "error": self.error,
            "run_ids": [run.run_id for run in self.cell.runs],
            "seeds": [score.seed for score in self.cell.scores],
            **{name: estimate.as_json() if estimate else None for name, estimate in estimates.items()},
        }


def results_of(study: Study, scores: Sequence[RunScores]) -> list[CellResult]:
    """The study's cells in the order of the grid, with the statistics of what is recorded."""
    rows = {run.run_id: row for row in group_runs(scores) for run in row.runs}
    return [CellResult(cell, rows.get(cell.scores[0].run_id) if cell.scores else None) for cell in cells(study, scores)]


def study_json(study: Study, results: Sequence[CellResult]) -> dict[str, Any]:
    """A study as `--json` prints it."""
    about = {name: getattr(study, name) for name in ("name", "method", "environment", "protocol", "track", "axes")}
    return {**about, "created_at": study.created_at, "cells": [result.as_json() for result in results]}


def print_study(study: Study, results: Sequence[CellResult]) -> None:
    """Prints one table, a row a cell; names come out as plain text."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    heading = (study.method, study.environment, study.protocol, study.track)
    console.print(Text("\n" + " · ".join(shorten(part, _LABEL_LIMIT) for part in heading), style="bold"))
    console.print(Text(shorten(f"study: {study.name}", 200), style="dim"))
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for key in study.axes:
        heading_text = shorten(key.partition(".")[2] or key, _LABEL_LIMIT).replace("_", " ")  # breaks between its words
        grid.add_column(Text(heading_text), overflow="fold")
    for label in (*MEASURES.values(), "seeds"):
        grid.add_column(label, justify="right", overflow="fold", no_wrap=True)
    values = [estimate.value for result in results if (estimate := result.estimate("last_episodes"))]
    decimals = {name: 2 if name == "normalised_score" else decimals_for(values) for name in MEASURES}
    for result in results:
        settings = [shorten(format_value(result.cell.settings.get(key)), _LABEL_LIMIT) for key in study.axes]
        numbers = [with_interval(result.estimate(name), decimals[name], separator="\n") for name in MEASURES]
        seeds = f"{len(result.cell.scores)} of {len(result.cell.runs)}"
        shown = [*settings, *numbers, seeds if result.status == "done" else f"{seeds}\n{result.status}"]
        grid.add_row(*[Text(text) for text in shown])
    console.print(grid)
    for result in results:
        if result.error:
            console.print(Text(shorten(f"{result.cell.label} failed: {result.error}", 400)))


def plot_study(study: Study, results: Sequence[CellResult], path: Path) -> None:
    """Draws the last 10 % and the first episode against the first axis, a colour for each combination of the other axes.

    Numbers stand at their value; if an axis has a word among its values, such as `full`, all stand side by side.

    Raises:
        UsageError: nothing to draw, or the file cannot be written.
    """
    require_format(path)
    if not any(result.row for result in results):
        raise UsageError(f"the study {study.name} has no recorded run to draw", "run the sweep first")
    with drawing_style():
        save(_drawn(study, results), path)


def _drawn(study: Study, results: Sequence[CellResult]) -> Figure:
    from matplotlib.figure import Figure

    axis = next(iter(study.axes))
    places, ticks = _places(study.axes[axis])
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for index, (label, members) in enumerate(_lines(axis, results).items()):
        colour = COLOURS[index % len(COLOURS)][0]
        for name, style in (("last_episodes", "-o"), ("first_episode", ":s")):
            points = [
                (places[format_value(member.cell.settings[axis])], estimate)
                for member in members
                if (estimate := member.estimate(name))
            ]
            x, y = [place for place, _ in points], [estimate.value for _, estimate in points]
            words = ", ".join(filter(None, [label, MEASURES[name]]))
            axes.plot(x, y, style, color=colour, label=words)
            for place, estimate in points:
                if estimate.interval is not None:
                    axes.vlines(place, estimate.interval.low, estimate.interval.high, color=colour, linewidth=1)
    axes.set_xticks(*ticks)
    axes.set_xlabel(_plain(axis))
    axes.set_ylabel("return, mean over tasks")
    axes.set_title(_plain(f"{study.method} on {study.environment}, {study.protocol}"))
    axes.legend(fontsize=8)
    return figure


def _places(values: Sequence[Any]) -> tuple[dict[str, float], tuple[list[float], list[str]]]:
    """Where each value of an axis stands, and the ticks: at their values if all are numbers, else side by side."""
    names = [format_value(value) for value in values]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    places = [float(value) for value in values] if numeric else [float(index) for index in range(len(values))]
    return dict(zip(names, places, strict=True)), (places, [_plain(name) for name in names])


def _lines(axis: str, results: Sequence[CellResult]) -> dict[str, list[CellResult]]:
    lines: dict[str, list[CellResult]] = {}
    for result in results:
        others = [
            f"{key.partition('.')[2]}={format_value(value)}"
            for key, value in result.cell.settings.items()
            if key != axis
        ]
        lines.setdefault(_plain(", ".join(others)), []).append(result)
    return lines


def _plain(text: str) -> str:
    """A name that matplotlib takes for no hidden legend entry."""
    return shorten(text, 60).lstrip("_")
