"""A benchmark's report as a JSON document, as tables of at most 80 columns, and as a plot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from icrl_registry.benchmarks import BenchmarkReport, Growth, Measurement, Requirement

#: Units of which more is better.
_SPEEDS = ("tokens/s", "env steps/s", "×")


def as_document(
    name: str, report: BenchmarkReport, quick: bool, seconds: float, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What `--json` prints; `settings` are those that were given by hand."""
    from icrl_bench.machine.provenance import hardware, package_versions

    return {
        "benchmark": name,
        "title": report.title,
        "quick": quick,
        "settings": dict(settings or {}),
        "seconds": round(seconds, 1),
        "machine": hardware("cpu"),
        "versions": {**package_versions(), **_rival_versions()},
        "axis": report.axis,
        "over": report.over,
        "measurements": [_number(each) for each in report.measurements],
        "ratios": [_number(each) for each in report.ratios],
        "growths": [asdict(each) for each in report.growths],
        "requirements": [asdict(each) for each in report.requirements],
        "absent": [asdict(each) for each in report.absent],
        "notes": report.notes,
    }


def print_report(report: BenchmarkReport, console: Any) -> None:
    """Prints everything: a table for each quantity, ratios, growths, and what must be reached."""
    from rich.text import Text

    console.print(Text(report.title, style="bold"))
    console.print(Text(f"medians ± half the distance of the quartiles over {report.over}"))
    for quantity, unit in quantities(report.measurements):
        rows = [each for each in report.measurements if (each.quantity, each.unit) == (quantity, unit)]
        console.print(Text(f"\n{quantity} ({unit})", style="italic"), _table(rows, report.axis), sep="\n")
    for quantity, unit in quantities(report.ratios):
        rows = [each for each in report.ratios if (each.quantity, each.unit) == (quantity, unit)]
        console.print(Text(f"\nhow many times {quantity}", style="italic"), _table(rows, report.axis), sep="\n")
    for line in (*map(growth_in_words, report.growths), *report.notes):
        console.print(Text(f"  {line}"))
    for absent in report.absent:
        console.print(Text(f"  left out: {absent.name}, {absent.reason}; {absent.remedy}"))
    if report.requirements:
        console.print(Text("\nmust reach", style="bold"))
    for requirement in report.requirements:
        console.print(Text(f"  {requirement_in_words(requirement)}", style="green" if requirement.passed else "red"))


def requirement_in_words(requirement: Requirement) -> str:
    """`pass  …: 39.1 × (must be 35 ×)`."""
    verdict = "pass" if requirement.passed else "FAIL"
    value, limit = _short(requirement.value), _short(requirement.limit)
    return f"{verdict}  {requirement.name}: {value} {requirement.unit} (limit {limit} {requirement.unit})"


def growth_in_words(growth: Growth) -> str:
    """`mamba, time per action ∝ context^0.01 [-0.02, 0.04], 100 to 50,000`."""
    interval = "" if growth.interval is None else f" [{growth.interval[0]:.2f}, {growth.interval[1]:.2f}]"
    return (
        f"{growth.subject}: {growth.quantity} ∝ context^{growth.exponent:.2f}{interval}, "
        f"{growth.first:,.0f} to {growth.last:,.0f}"
    )


def draw(report: BenchmarkReport, path: str) -> bool:
    """Writes the quantities against the axis (or as bars) to an SVG or PNG file; False if there is nothing to draw."""
    from matplotlib.figure import Figure

    from icrl_leaderboards.drawing import drawing_style, save

    drawn = [pair for pair in quantities(report.measurements) if _is_drawn(report, *pair)]
    if not drawn:
        return False
    subjects = list(dict.fromkeys(each.subject for each in report.measurements))
    with drawing_style():
        figure = Figure(figsize=(3.7 * len(drawn), 3.2))
        places = figure.subplots(1, len(drawn), squeeze=False)
        for axes, (quantity, unit) in zip(places[0], drawn, strict=True):
            rows = [each for each in report.measurements if (each.quantity, each.unit) == (quantity, unit)]
            (_draw_lines if report.axis else _draw_bars)(axes, rows, subjects, report.axis)
            axes.set_title(f"{quantity} ({unit})", loc="left")
        handles, labels = places[0][0].get_legend_handles_labels()
        if labels:
            figure.legend(handles, labels, loc="lower center", ncol=min(5, len(labels)), fontsize=8)
        figure.tight_layout(rect=(0, 0.09 if labels else 0, 1, 1))
        save(figure, path)
    return True


def _is_drawn(report: BenchmarkReport, quantity: str, unit: str) -> bool:
    """What has more than one place or bar; with an axis, and several subjects, what at least two of them have."""
    rows = [each for each in report.measurements if (each.quantity, each.unit) == (quantity, unit)]
    if not report.axis:
        return len(rows) > 1
    along = {each.subject for each in report.measurements if each.at is not None}
    compared = len({each.subject for each in rows}) > 1 or len(along) == 1
    return compared and len({each.at for each in rows}) > 1


def _draw_lines(axes: Any, rows: Sequence[Measurement], subjects: Sequence[str], axis: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    for number, subject in enumerate(subjects):
        points = sorted((each for each in rows if each.subject == subject), key=lambda each: each.at or 0)
        if not points:
            continue
        at = [each.at for each in points]
        axes.fill_between(at, *zip(*(each.quartiles for each in points), strict=True), color=f"C{number}", alpha=0.25)
        axes.plot(at, [each.median for each in points], "o-", color=f"C{number}", label=subject, markersize=3)
    axes.set(xscale="log", yscale="log", xlabel=axis)
    for side in (axes.xaxis, axes.yaxis):
        side.set_major_formatter(lambda value, place: f"{value:,.0f}" if value >= 1 else f"{value:g}")
        side.set_minor_formatter(NullFormatter())
        low, high = side.get_view_interval()
        if high < 30 * low:  # else a scale within one decade would have no number on it
            side.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))


def _draw_bars(axes: Any, rows: Sequence[Measurement], subjects: Sequence[str], axis: str) -> None:
    medians = [each.median for each in rows]
    low, high = zip(*(each.quartiles for each in rows), strict=True)
    errors = [[m - q for m, q in zip(medians, low, strict=True)], [q - m for m, q in zip(medians, high, strict=True)]]
    axes.barh([each.subject for each in rows], medians, xerr=errors, color="C0", height=0.6)
    axes.invert_yaxis()


def quantities(measurements: Iterable[Measurement]) -> list[tuple[str, str]]:
    """What was measured, with its unit, in the order in which it first comes."""
    return list(dict.fromkeys((each.quantity, each.unit) for each in measurements))


def _table(rows: Sequence[Measurement], axis: str) -> Any:
    """With an axis a row for each place and a column for each subject, else a row for each subject."""
    from rich.table import Column, Table

    subjects = list(dict.fromkeys(each.subject for each in rows))
    style: dict[str, Any] = {"box": None, "padding": (0, 2, 0, 0)}
    if not axis:
        table = Table(Column(""), Column(rows[0].unit, justify="right"), **style, show_header=False)
        for each in rows:
            table.add_row(each.subject, cell(each))
        return table
    columns = [Column(subject, justify="right") for subject in subjects]
    table = Table(Column(axis.partition(" (")[0], justify="right", no_wrap=True), *columns, **style)
    for place in sorted({each.at or 0.0 for each in rows}):
        here = {each.subject: each for each in rows if (each.at or 0.0) == place}
        table.add_row(f"{place:,.0f}", *(cell(here[name]) if name in here else "" for name in subjects))
    return table


def cell(measurement: Measurement) -> str:
    """`4.31 ±2%`."""
    if len(measurement.values) < 2:
        return _short(measurement.median)
    low, high = measurement.quartiles
    share = 50 * (high - low) / abs(measurement.median) if measurement.median else 0.0
    return f"{_short(measurement.median)} ±{share:.0f}%"


def _short(value: float) -> str:
    """Three significant digits, with a comma at the thousands."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _number(measurement: Measurement) -> dict[str, Any]:
    low, high = measurement.quartiles
    return {
        "subject": measurement.subject,
        "quantity": measurement.quantity,
        "unit": measurement.unit,
        "more_is_better": measurement.unit in _SPEEDS,
        "at": measurement.at,
        "median": measurement.median,
        "lower_quartile": low,
        "upper_quartile": high,
        "repeats": len(measurement.values),
    }


def _rival_versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("mambapy", "transformers", "sbx-rl", "jax"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
