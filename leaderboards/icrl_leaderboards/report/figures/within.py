"""Reward by step within the first episodes: what happens before a curve by episode has its first point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icrl_leaderboards.analysis.steps import smoothed, step_rewards
from icrl_leaderboards.analysis.summary import Row
from icrl_leaderboards.drawing import AXIS
from icrl_leaderboards.report.figures import FigureData
from icrl_leaderboards.report.figures.adaptation import MOST_CURVES, principal_rows, table_title
from icrl_leaderboards.report.figures.canvas import Axis, Canvas, Label, write_ticks
from icrl_leaderboards.report.figures.figure import Figure, Numbers, decimals
from icrl_leaderboards.report.scales import linear_ticks, widen
from icrl_leaderboards.report.styles import LineStyle, brief_label, is_source, series_name
from icrl_leaderboards.wording.formatting import number
from icrl_leaderboards.wording.text import shorten
from icrl_registry.arrays import Float64Array

_SIZE = (4.4, 3.0)
_WIDTH = 10  # steps that are averaged: single ones jump


@dataclass(frozen=True, eq=False)
class Within:
    """One row's rewards, (E, H), as the figure draws them."""

    row: Row
    style: LineStyle
    rewards: Float64Array


def figures(data: FigureData) -> list[Figure]:
    """One figure, from those principal rows whose records are at hand and know their rewards by step; none without any."""
    curves = [curve for row in principal_rows(data.table) if not is_source(row) and (curve := _curve(data, row))]
    horizon = max((curve.rewards.shape[1] for curve in curves), default=0)
    curves = [curve for curve in curves if curve.rewards.shape[1] == horizon][:MOST_CURVES]
    if not curves:
        return []
    return [
        Figure(
            f"{data.name}-within",
            "Reward by step of the first episodes",
            table_title(data.table),
            _describe(curves),
            "",
            _numbers(curves),
            _SIZE,
            lambda canvas: _draw(canvas, curves, horizon),
            [f"mean over seeds and tasks, and over the {_WIDTH} steps before; lines: an episode begins"],
        )
    ]


def _curve(data: FigureData, row: Row) -> Within | None:
    records = [data.records[run.run_id] for run in row.runs if run.run_id in data.records]
    rewards = step_rewards(records)
    return None if rewards is None else Within(row, data.styles[row.label], smoothed(rewards, _WIDTH))


def _describe(curves: Sequence[Within]) -> str:
    ends = [
        f"{shorten(curve.row.label, 60)}: from {number(float(curve.rewards[0, 0]), 2)} at the first step to "
        f"{number(float(curve.rewards[0, -1]), 2)} at the end of the first episode."
        for curve in curves
    ]
    return " ".join(["Mean reward by step.", *ends])


def _numbers(curves: Sequence[Within]) -> Numbers:
    length = max(curve.rewards.size for curve in curves)
    flat = [np.append(curve.rewards, np.full(length - curve.rewards.size, np.nan)) for curve in curves]
    return Numbers(
        f"Mean reward over seeds, tasks and the {_WIDTH} steps before",
        ("step", *(curve.row.label for curve in curves)),
        tuple((float(step + 1), *(float(values[step]) for values in flat)) for step in range(length)),
        (decimals(0), *[decimals(4)] * len(curves)),
    )


def _draw(canvas: Canvas, curves: Sequence[Within], horizon: int) -> None:
    values = np.concatenate([curve.rewards.ravel() for curve in curves])
    low, high = widen(float(values.min()), float(values.max()), 0.06)
    last = max(curve.rewards.size for curve in curves)
    steps = linear_ticks(0.0, float(last))
    horizontal = Axis(1.0, float(last), steps, lambda value: f"{value:.0f}", "environment step in the task")
    labels = [
        Label(
            brief_label(curve.row),
            float(curve.rewards[-1, -1]),
            curve.style.colour_code,
            series_name(curve.row),
            float(curve.rewards.size),
            curve.style,
        )
        for curve in curves
    ]
    ticks = linear_ticks(low, high)
    canvas.frame(horizontal, Axis(low, high, ticks, write_ticks(ticks), "reward"), labels)
    for begin in range(horizon, last, horizon):
        canvas.axes.axvline(begin, color=AXIS, linewidth=0.6, zorder=1.5)
    for curve in reversed(curves):
        places = np.arange(1, curve.rewards.size + 1)
        gid = canvas.gid(series_name(curve.row))
        style = curve.style
        canvas.axes.plot(
            places, curve.rewards.ravel(), color=style.colour_code, linestyle=style.pattern, gid=gid, zorder=3
        )
