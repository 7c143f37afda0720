"""Return against one setting of a method, such as the context length (Figure 2 of Beaussant and Mounsif, 2025).

Nothing announces a sweep: rows of one table that differ in one setting only, and share everything else, are one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from icrl_leaderboards.analysis.summary import Row, Table
from icrl_leaderboards.report.curve_figures import curve_figure
from icrl_leaderboards.report.curves import episode_plot, table_title
from icrl_leaderboards.report.drawing import Drawing
from icrl_leaderboards.report.figures import Axis, Box, Figure, Numbers, draw_frame, left_margin, write_ticks
from icrl_leaderboards.report.scales import Scale, linear_ticks, widen
from icrl_leaderboards.report.styles import SHADES, LineStyle, cut
from icrl_leaderboards.wording.cells import table_decimals
from icrl_leaderboards.wording.formatting import with_interval
from icrl_leaderboards.wording.text import shorten

_SIZE = (420.0, 276.0)


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
            rest = ", ".join(f"{key}={written(value)}" for key, value in json.loads(shared).items())
            values = tuple(written(json.loads(value)) for value, _ in ordered)
            sweeps.append(Sweep(method, setting, rest, tuple(row for _, row in ordered), values))
    return sweeps


def sweep_figures(table: Table, sweep: Sweep, name: str) -> list[Figure]:
    """The end of the adaptation against the setting, and the adaptation curves in shades of one colour."""
    return [_ends(table, sweep, f"{name}-ends"), _curves(table, sweep, f"{name}-curves")]


def _configured(config: Mapping[str, Any], setting: str) -> Any:
    """The value of a setting such as `method.context_length` in a full configuration; None where there is none."""
    value: Any = config
    for part in setting.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def written(value: Any) -> str:
    """A setting's value as a reader wants it."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then words: `full` comes after every length."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0, float(value), ""
    return 1, 0.0, written(value)


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
        replace(curve, brief=cut(sweep.values[index], 14)) for curve, index in zip(plot.curves, chosen, strict=False)
    ]
    figure = curve_figure(replace(plot, curves=tuple(named), left_out=0), name)
    heading = f"Return by episode, {_title(sweep)}"
    return replace(figure, heading=heading, caption="")


def _ends(table: Table, sweep: Sweep, name: str) -> Figure:
    """The last 10 % with its interval at each value; the values stand at equal distances, in their order."""
    drawing = Drawing(*_SIZE)
    estimates = [row.last_episodes for row in sweep.rows]
    oracle = [each.value for each in table.references if each.name == "oracle"]
    ends = [estimate.value for estimate in estimates] + oracle
    ends += [end for each in estimates if each.interval for end in (each.interval.low, each.interval.high)]
    low, high = widen(min(ends), max(ends), 0.06)
    ticks = linear_ticks(low, high)
    write = write_ticks(ticks)
    box = Box(left_margin([write(tick) for tick in ticks]), 20, drawing.width - 54, drawing.height - 38)
    x = Scale(-0.5, len(estimates) - 0.5, box.left, box.right)
    y = Scale(low, high, box.bottom, box.top)
    values = [cut(value, 12) for value in sweep.values]
    horizontal = Axis(x, range(len(values)), lambda index: values[int(index)], cut(sweep.setting, 40))
    draw_frame(drawing, box, horizontal, Axis(y, ticks, write, "return, last 10 %"))
    for value in oracle:
        drawing.line((box.left, y(value)), (box.right, y(value)), "reference")
        drawing.text((box.right + 6, y(value)), "oracle", "fill-muted")
    drawing.path([(x(index), y(each.value)) for index, each in enumerate(estimates)], "curve stroke-shade-3")
    for index, each in enumerate(estimates):
        if each.interval:
            line = (x(index), y(each.interval.low)), (x(index), y(each.interval.high))
            drawing.line(*line, "whisker stroke-shade-3")
        drawing.circle((x(index), y(each.value)), 4, "fill-shade-3")
    decimals = table_decimals(table)
    lines = tuple(
        (value, with_interval(row.last_episodes, decimals), with_interval(row.normalised_score, 2))
        for value, row in zip(sweep.values, sweep.rows, strict=True)
    )
    said = " ".join(f"{shorten(value, 40)}: {end}." for value, end, _ in lines)
    header = (sweep.setting, "return, last 10 %", "normalised score")
    numbers = Numbers("Return of the last 10 % of the episodes [95 % interval]", header, lines)
    caption = "Mean return of the last 10 % of the episodes, with its 95 % interval."
    return Figure(name, f"Return, {_title(sweep)}", table_title(table), said, caption, drawing, numbers)
