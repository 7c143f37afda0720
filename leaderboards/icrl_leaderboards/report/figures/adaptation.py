"""Adaptation curves as numbers: what a plot draws and what the page lists beneath it.

One plot has the episodes in the unseen task as its axis (Figure 1 of Beaussant and Mounsif, 2025), the other the environment
steps, on which methods stand beside the source algorithm that learns the same tasks from nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icrl_leaderboards.analysis.statistics import mean_curve
from icrl_leaderboards.analysis.statistics.bootstrap import mean_band
from icrl_leaderboards.analysis.summary import Reference, Row, Table
from icrl_leaderboards.report.styles import FAMILIAR, SOURCE_METHOD, LineStyle, brief_label, is_source, series_name
from icrl_leaderboards.runs.record import RunRecord
from icrl_registry.arrays import Float64Array

MOST_CURVES = 8  # lines that a reader can tell apart; further rows stand in the tables
MOST_POINTS = 120
_FAR = 1.5
_DEEPEST = 2.0
_BAND_SHARE = 0.15


@dataclass(frozen=True, eq=False)
class Curve:
    """Mean return of each episode over seeds and tasks, with a pointwise 95 % band.

    A curve of very many episodes is shown as means over groups of neighbouring episodes, P points in all.
    """

    label: str
    brief: str
    series: str  # the method, as the page's filter knows it
    style: LineStyle
    places: Float64Array  # (P,), episode from 1, or environment steps at its end
    mean: Float64Array  # (P,)
    low: Float64Array | None  # (P,); None where a single number leaves nothing to resample
    high: Float64Array | None


@dataclass(frozen=True, eq=False)
class CurvePlot:
    """Everything that one plot of adaptation curves shows."""

    title: str
    axis: str  # "episode" or "steps"
    curves: tuple[Curve, ...]  # best first
    references: tuple[Reference, ...]
    left_out: int  # methods beyond `MOST_CURVES`

    @property
    def last_place(self) -> float:
        """Where the longest curve ends."""
        return float(max(curve.places[-1] for curve in self.curves))


def episode_plot(table: Table, styles: Mapping[str, LineStyle], rows: Sequence[Row] | None = None) -> CurvePlot:
    """Return against episode in the unseen task; the source, which has far more episodes, stands there only as oracle.

    The curves are those of `rows`, or else of the best of the table's principal rows.
    """
    given = rows or [row for row in principal_rows(table) if not is_source(row)] or table.rows
    curves = [_curve(row, styles[row.label], 1.0, MOST_POINTS) for row in given[:MOST_CURVES]]
    return CurvePlot(table_title(table), "episode", tuple(curves), _references(table), len(given) - len(curves))


def steps_plot(table: Table, styles: Mapping[str, LineStyle], records: Mapping[str, RunRecord]) -> CurvePlot | None:
    """Return against environment steps in the test task, with the source's learning curve; None where that is unknown.

    The source's curve is the row of the method `source`, or else what a run in `records` (by run id) knows of it.
    """
    given = [row for row in principal_rows(table) if not is_source(row)]
    shown = given[:MOST_CURVES] + [row for row in table.rows if is_source(row)][:1]
    pairs = [(row, steps_per_episode(row)) for row in shown]
    curves = [_curve(row, styles[row.label], steps, MOST_POINTS) for row, steps in pairs if steps > 0]
    if not any(is_source(row) for row in shown):
        recorded = (records[run.run_id] for row in table.rows for run in row.runs if run.run_id in records)
        source = next((curve for curve in map(_recorded_source, recorded) if curve), None)
        if source is None:
            return None
        curves.append(source)
    left_out = len(given[MOST_CURVES:])
    return CurvePlot(table_title(table), "steps", tuple(curves), _references(table), left_out) if curves else None


def _recorded_source(record: RunRecord) -> Curve | None:
    """The source's learning curve on the test tasks, in equal parts of its training; None where the run has none."""
    total = record.config.get("source", {}).get("total_steps")
    widths = {len(curve) for curve in record.source_curves}
    if not isinstance(total, int | float) or total <= 0 or len(widths) != 1 or not min(widths):
        return None
    curves = np.array(record.source_curves)[None]  # (1, K, P)
    places = total * np.arange(1, curves.shape[-1] + 1) / curves.shape[-1]
    low, high = mean_band(curves) if curves.shape[1] > 1 else (None, None)
    name = "source, on the task itself"
    return Curve(
        name, "source", SOURCE_METHOD, LineStyle(FAMILIAR[SOURCE_METHOD]), places, mean_curve(curves), low, high
    )


def principal_rows(table: Table) -> list[Row]:
    """One row a method, best first: the one with the protocol's own settings, or else the best of its variants."""
    chosen: dict[str, Row] = {}
    for row in table.rows:  # best first
        if row.head.method not in chosen or (not row.settings and chosen[row.head.method].settings):
            chosen[row.head.method] = row
    kept = {id(row) for row in chosen.values()}
    return [row for row in table.rows if id(row) in kept]


def rivals(table: Table) -> list[Row]:
    """The principal rows on the tasks of the first of them, without the source, unless it stands alone: what compares."""
    rows = [row for row in principal_rows(table) if not is_source(row)] or list(table.rows[:1])
    return [row for row in rows if row.head.task_labels == rows[0].head.task_labels]


def table_title(table: Table) -> str:
    """The table's environment, protocol and track."""
    return f"{table.environment}, {table.protocol}, {table.track}"


def steps_per_episode(row: Row) -> float:
    """Mean length of an episode in the unseen tasks, in environment steps."""
    _, tasks, episodes = row.returns.shape
    return row.mean_of("adapt_env_steps") / float(tasks * episodes)


def _curve(row: Row, style: LineStyle, per_episode: float, most: int) -> Curve:
    returns, ends = grouped(row.returns, most)
    several = returns.shape[0] * returns.shape[1] > 1
    low, high = mean_band(returns) if several else (None, None)
    places = ends * per_episode
    return Curve(row.label, brief_label(row), series_name(row), style, places, mean_curve(returns), low, high)


def grouped(returns: Float64Array, most: int) -> tuple[Float64Array, Float64Array]:
    """(N, K, E) returns as means over at most `most` groups of neighbouring episodes, and the last episode of each group.

    Groups are short at the beginning and long at the end, as a logarithmic axis shows them.
    """
    episodes = returns.shape[-1]
    if episodes <= most:
        return returns, np.arange(1, episodes + 1, dtype=np.float64)
    ends = np.unique(np.round(np.geomspace(1, episodes, most)).astype(np.intp))
    starts = np.concatenate([[0], ends[:-1]])
    sums = np.add.reduceat(returns, starts, axis=-1)
    return sums / (ends - starts), ends.astype(np.float64)


def _references(table: Table) -> tuple[Reference, ...]:
    """The floors and the oracle; the greedy oracle is too close to the other to read."""
    return tuple(each for each in table.references if each.name != "oracle, greedy")


def value_range(plot: CurvePlot) -> tuple[float, float]:
    """Lowest and highest return that the plot shows: the curves, the oracle, the floors and what of the bands is nearby.

    A floor further off than `_FAR` times the range of the others would flatten the curves, and so would a method that fell
    apart, below the oracle by more than `_DEEPEST` times what the oracle is above random: these are named at the plot's edge.
    A band widens the plot by at most `_BAND_SHARE` of the curves' range at either end; `bands_leave` says whether one ends
    beyond. Of the source only its end counts, not its first steps, from before it learned anything.
    """
    counted = [curve for curve in plot.curves if curve.series != SOURCE_METHOD] or list(plot.curves)
    arrays = [curve.mean for curve in counted] + [curve.mean[-1:] for curve in plot.curves]
    by_name = {each.name: each.value for each in plot.references}
    arrays += [np.array([value]) for name, value in by_name.items() if name == "oracle"]
    joined = np.concatenate(arrays)
    low, high = float(joined.min()), float(joined.max())
    if "oracle" in by_name and by_name["oracle"] > by_name.get("random", np.inf):
        gap = by_name["oracle"] - by_name["random"]
        low, high = max(low, by_name["oracle"] - _DEEPEST * gap), min(high, by_name["oracle"] + _DEEPEST * gap)
    reach = _FAR * ((high - low) or max(abs(high), 1.0))
    near = [each.value for each in plot.references if low - reach <= each.value <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    room = _BAND_SHARE * (high - low)
    bottom = min([low, *(float(curve.low.min()) for curve in counted if curve.low is not None)])
    top = max([high, *(float(curve.high.max()) for curve in counted if curve.high is not None)])
    return max(bottom, low - room), min(top, high + room)


def bands_leave(plot: CurvePlot, low: float, high: float) -> list[str]:
    """The names of the curves whose band ends beyond [low, high]."""
    return [
        curve.brief
        for curve in plot.curves
        if curve.low is not None and curve.high is not None and (curve.low.min() < low or curve.high.max() > high)
    ]
