"""A benchmark's report as Markdown: what `--out` writes to be read, pasted and kept beside a README."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from icrl_bench.benchmarking.showing import cell, growth_in_words, quantities, requirement_in_words
from icrl_registry.benchmarks import BenchmarkReport, Measurement


def as_markdown(name: str, report: BenchmarkReport, document: dict[str, Any]) -> str:
    """Title, machine and command, what must be reached, then a table for each quantity and each kind of ratio."""
    machine = document["machine"]
    command = ["icrl-bench", "bench", name, *(["--quick"] if document["quick"] else [])]
    command += [
        part for key, value in document["settings"].items() for part in ("--set", f"bench.{key}={_toml(value)}")
    ]
    parts = [
        f"# {report.title}",
        f"`{shlex.join(command)}` on {machine['processor']}, {machine['cores']} cores; {document['seconds']:.0f} s. "
        f"Medians ± half the distance of the quartiles over {report.over}.",
        _bullets([requirement_in_words(each) for each in report.requirements]),
    ]
    for prefix, measurements in (("", report.measurements), ("How many times ", report.ratios)):
        for quantity, unit in quantities(measurements):
            rows = [each for each in measurements if (each.quantity, each.unit) == (quantity, unit)]
            heading = f"{prefix}{quantity}" if prefix else f"{quantity[:1].upper()}{quantity[1:]}, {unit}"
            parts.append(f"## {heading}\n\n{_table(rows, report.axis)}")
    left_out = [f"left out: {each.name}, {each.reason}" for each in report.absent]
    parts.append(_bullets([*map(growth_in_words, report.growths), *report.notes, *left_out]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _toml(value: Any) -> str:
    """As `--set` reads it; but for tables, JSON is TOML."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{json.dumps(key)} = {_toml(each)}' for key, each in value.items())}}}"
    return json.dumps(value)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(rows: Sequence[Measurement], axis: str) -> str:
    """A row for each place on the axis and a column for each subject; without an axis a row for each subject."""
    subjects = list(dict.fromkeys(each.subject for each in rows))
    places = sorted({each.at for each in rows if each.at is not None})
    if not axis or not places:
        lines = [[each.subject, cell(each)] for each in rows]
        return _lines(["", "median"], lines)
    by_place = {(each.subject, each.at): cell(each) for each in rows}
    lines = [[f"{place:,.0f}", *(by_place.get((subject, place), "") for subject in subjects)] for place in places]
    return _lines([axis, *subjects], lines)


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    columns = "|".join(["---", *["--:"] * (len(head) - 1)])
    return "\n".join([f"| {' | '.join(head)} |", f"|{columns}|", *(f"| {' | '.join(row)} |" for row in rows)])
