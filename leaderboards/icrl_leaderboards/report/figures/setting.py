"""Return against one setting of a method, such as the context length (Figure 2 of Beaussant and Mounsif, 2025).

Nothing announces a sweep: rows of one table that differ in one setting only, and share everything else, are one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from icrl_leaderboards.analysis.statistics.intervals import Estimate
from icrl_leaderboards.analysis.summary import Row, Table
from icrl_leaderboards.drawing import AXIS, MUTED, SHADES
from icrl_leaderboards.report.figures import FigureData
from icrl_leaderboards.report.figures.adaptation import episode_plot, table_title
from icrl_leaderboards.report.figures.canvas import Axis, Canvas, Label, write_ticks
from icrl_leaderboards.report.figures.cost import draw_estimate
from icrl_leaderboards.report.figures.curves import curve_figure
from icrl_leaderboards.report.figures.figure import Figure, Numbers, decimals, estimate_cell
from icrl_leaderboards.report.scales import linear_ticks, widen
from icrl_leaderboards.report.styles import LineStyle, cut
from icrl_leaderboards.runs.record import format_value
from icrl_leaderboards.wording.cells import table_decimals
from icrl_leaderboards.wording.formatting import with_interval
from icrl_leaderboards.wording.text import shorten

_SIZE = (4.4, 3.0)
_COLOUR = SHADES[3][0]
_FOOTNOTE = "mean return of the last 10 % of the episodes; bar: 95 % interval"


@dataclass(frozen=True, eq=False)
class Sweep:
    """Rows of one method in one table that differ in one setting."""

    method: str
    setting: str  # such as "method.context_length"
    rest: str  # the other settings that the rows share, as text
    rows: tuple[Row, ...]  # by value, numbers first
    values: tuple[str, ...]


def sweeps_of(table: Table, configs: Mapping[str, Mapping[str, Any]]) -> list[Sweep]:
    """Every (method, setting) of a table with at least two values, by method and setting.

    A row that leaves the setting as its protocol has it takes part with the value of its full configuration, where
    `configs` has that by run id.
    """
    groups: dict[tuple[str, str, str], dict[str, Row]] = defaultdict(dict)
    settings = {(row.head.method, setting) for row in table.rows for setting in row.head.variant}
    for row in table.rows:
        for method, setting in settings:
            value = row.head.variant.get(setting, _configured(configs.get(row.head.run_id, {}), setting))
            if method == row.head.method and value is not None:
                others = {key: other for key, other in row.head.variant.items() if key != setting}
                members = groups[method, setting, json.dumps(others, sort_keys=True)]
                members.setdefault(json.dumps(value, sort_keys=True), row)
    sweeps = []
    for (method, setting, shared), members in sorted(groups.items()):
        if len(members) >= 2 and any(setting in row.head.variant for row in members.values()):
            ordered = sorted(members.items(), key=lambda item: _order(json.loads(item[0])))
            rest = ", ".join(f"{key}={format_value(value)}" for key, value in json.loads(shared).items())
            values = tuple(format_value(json.loads(value)) for value, _ in ordered)
            sweeps.append(Sweep(method, setting, rest, tuple(row for _, row in ordered), values))
    return sweeps


def figures(data: FigureData) -> list[Figure]:
    """For each setting that rows differ in the end of the adaptation against it, and the curves in shades of one colour."""
    configs = {run_id: record.config for run_id, record in data.records.items()}
    sweeps = enumerate(sweeps_of(data.table, configs), start=1)
    return [
        figure for index, sweep in sweeps for figure in sweep_figures(data.table, sweep, f"{data.name}-sweep-{index}")
    ]


def sweep_figures(table: Table, sweep: Sweep, name: str) -> list[Figure]:
    """The figures of one sweep."""
    return [_ends(table, sweep, f"{name}-ends"), _curves(table, sweep, f"{name}-curves")]


def _configured(config: Mapping[str, Any], setting: str) -> Any:
    """The value of a setting such as `method.context_length` in a full configuration; None where there is none."""
    value: Any = config
    for part in setting.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then words: `full` comes after every length."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0, float(value), ""
    return 1, 0.0, format_value(value)


def _title(sweep: Sweep) -> str:
    rest = f", {shorten(sweep.rest, 60)}" if sweep.rest else ""
    return f"{shorten(sweep.method, 40)}{rest} by {shorten(sweep.setting, 60)}"


def _chosen(sweep: Sweep) -> list[int]:
    """Which values have a curve: all, or as many as there are shades, evenly from the first to the last."""
    total, most = len(sweep.rows), len(SHADES)
    return list(range(total)) if total <= most else [round(i * (total - 1) / (most - 1)) for i in range(most)]


def _curves(table: Table, sweep: Sweep, name: str) -> Figure:
    chosen = _chosen(sweep)
    rows = [sweep.rows[index] for index in chosen]
    last = max(len(rows) - 1, 1)
    shades = {row.label: round(index * (len(SHADES) - 1) / last) for index, row in enumerate(rows)}
    styles = {label: LineStyle(shade, palette="shade") for label, shade in shades.items()}
    plot = episode_plot(table, styles, rows)
    named = [
        replace(curve, brief=cut(sweep.values[index], 40)) for curve, index in zip(plot.curves, chosen, strict=False)
    ]
    figure = curve_figure(replace(plot, curves=tuple(named), left_out=0), name)
    heading = f"Return by episode, {_title(sweep)}"
    return replace(figure, heading=heading, caption="")


def _ends(table: Table, sweep: Sweep, name: str) -> Figure:
    """The last 10 % with its interval at each value; the values stand at equal distances, in their order."""
    estimates = [row.last_episodes for row in sweep.rows]
    oracle = [each.value for each in table.references if each.name == "oracle"]
    digits = table_decimals(table)
    lines = tuple(
        (value, estimate_cell(row.last_episodes), estimate_cell(row.normalised_score))
        for value, row in zip(sweep.values, sweep.rows, strict=True)
    )
    return Figure(
        name,
        f"Return, {_title(sweep)}",
        table_title(table),
        " ".join(
            f"{shorten(value, 40)}: {with_interval(end, digits)}."
            for value, end in zip(sweep.values, estimates, strict=True)
        ),
        "",
        Numbers(
            "Return of the last 10 % of the episodes [95 % interval]",
            (sweep.setting, "return, last 10 %", "normalised score"),
            lines,
            (str, decimals(digits), decimals(2)),
        ),
        _SIZE,
        lambda canvas: _draw_ends(canvas, sweep, estimates, oracle),
        [_FOOTNOTE],
    )


def _draw_ends(canvas: Canvas, sweep: Sweep, estimates: Sequence[Estimate], oracle: Sequence[float]) -> None:
    ends = [estimate.value for estimate in estimates] + list(oracle)
    ends += [end for each in estimates if each.interval for end in (each.interval.low, each.interval.high)]
    low, high = widen(min(ends), max(ends), 0.06)
    ticks, places = linear_ticks(low, high), range(len(estimates))
    horizontal = Axis(
        -0.5,
        len(estimates) - 0.5,
        places,
        lambda place: canvas.fitted(sweep.values[round(place)], 0.8),
        cut(sweep.setting, 40),
    )
    labels = [Label("oracle", value, MUTED) for value in oracle]
    canvas.frame(horizontal, Axis(low, high, ticks, write_ticks(ticks), "return, last 10 %"), labels)
    for value in oracle:
        canvas.axes.axhline(value, color=AXIS, linewidth=0.9, zorder=1.5)
    canvas.axes.plot(places, [each.value for each in estimates], color=_COLOUR)
    for place, estimate in zip(places, estimates, strict=True):
        draw_estimate(canvas, place, estimate, _COLOUR)
