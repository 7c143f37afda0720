"""Recorded episodes as one flat table, a row an episode, for whoever analyses them with other tools.

JSON and Parquet carry every name as it is. A CSV file is opened by spreadsheets, which run cells that look like formulas: a
text cell that could be one gets an apostrophe in front, and characters without a glyph are written as their codes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from icrl_leaderboards.runs.record import OPTIONAL, REFERENCES, RunRecord
from icrl_leaderboards.wording.text import visible
from icrl_registry.errors import UsageError

FORMATS = ("json", "csv", "parquet")
#: What every row says of its run, then of its task; then episode (from 1), return and length in environment steps.
RUN_COLUMNS = ("run_id", "method", "backbone", "environment", "protocol", "track", "seed", "variant", "created_at")
_REFERENCES = tuple(name for name in REFERENCES if name not in OPTIONAL)  # those that every run has
TASK_COLUMNS = ("task", "task_parameters", *_REFERENCES)
EPISODE_COLUMNS = ("episode", "return", "length")
_SHARED_COLUMNS = (*RUN_COLUMNS, *TASK_COLUMNS)
COLUMNS = (*_SHARED_COLUMNS, *EPISODE_COLUMNS)
_INTEGERS = frozenset({"seed", "episode", "length"})
_REALS = frozenset({*_REFERENCES, "return"})
#: What a spreadsheet takes for the beginning of a formula or a command; the apostrophe is its own escape.
_FORMULA = frozenset("=+-@|%＝＋－＠'")
_ROW_GROUP = 200_000  # episodes


def write_csv(runs: Iterable[RunRecord], out: IO[str]) -> int:
    """Writes the table with a header; returns the number of episodes."""
    out.write(",".join(COLUMNS) + "\n")
    return _write_rows(runs, out, _csv_row, "", "{},{},{!r},{}\n")


def write_json(runs: Iterable[RunRecord], out: IO[str]) -> int:
    """Writes `{"episodes": [{column: value}, …]}`, one line an episode; returns their number."""
    out.write('{"episodes": [')
    number = _write_rows(runs, out, _json_row, ",", '\n{}, "episode": {}, "return": {!r}, "length": {}}}')
    out.write("\n]}\n" if number else "]}\n")
    return number


def write_parquet(runs: Iterable[RunRecord], path: Path) -> int:
    """Writes a Parquet file with repeated text stored once; returns the number of episodes.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        hint = "pip install 'icrl-bench[parquet]', or export --format csv"
        raise UsageError("Parquet needs pyarrow, which is not installed", hint) from error

    def kind(column: str) -> Any:
        if column in _INTEGERS:
            return pyarrow.int64()
        return pyarrow.float64() if column in _REALS else pyarrow.string()

    schema = pyarrow.schema([(column, kind(column)) for column in COLUMNS])
    total = 0
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for columns, number in _column_groups(runs):
            writer.write_table(pyarrow.table(columns, schema=schema))
            total += number
    return total


def csv_text(text: str) -> str:
    """A name as the content of a CSV cell that no spreadsheet runs."""
    shown = visible(text)
    return "'" + shown if shown.lstrip()[:1] in _FORMULA else shown


# --- Rows --------------------------------------------------------------------------------------------------------------


def _shared_cells(run: RunRecord) -> Iterator[tuple[int, list[Any]]]:
    """For each test task: its index, and the cells that all its episodes share."""
    variant = json.dumps(run.variant, sort_keys=True)
    of_run = [variant if name == "variant" else getattr(run, name) for name in RUN_COLUMNS]
    for task, label in enumerate(run.task_labels):
        references = [getattr(run, name)[task] for name in _REFERENCES]
        yield task, [*of_run, label, json.dumps(run.task_parameters[task]), *references]


def _write_rows(
    runs: Iterable[RunRecord], out: IO[str], write_shared: Callable[[list[Any]], str], separator: str, template: str
) -> int:
    """Rows whose shared cells are written once a task: an export of millions of episodes spends its time here."""
    number = 0
    for run in runs:
        lines = []
        for task, cells in _shared_cells(run):
            head = write_shared(cells)
            pairs = zip(run.returns[task], run.episode_lengths[task], strict=True)
            lines += [template.format(head, episode, *pair) for episode, pair in enumerate(pairs, 1)]
        if number and separator:
            out.write(separator)
        out.write(separator.join(lines))
        number += len(lines)
    return number


def _json_row(cells: list[Any]) -> str:
    return json.dumps(dict(zip(_SHARED_COLUMNS, cells, strict=True)))[:-1]


def _csv_row(cells: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([csv_text(cell) if isinstance(cell, str) else cell for cell in cells])
    return line.getvalue()


def _column_groups(runs: Iterable[RunRecord]) -> Iterator[tuple[dict[str, list[Any]], int]]:
    """Columns of about `_ROW_GROUP` episodes at a time."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for run in runs:
        for task, cells in _shared_cells(run):
            episodes = len(run.returns[task])
            for name, value in zip(_SHARED_COLUMNS, cells, strict=True):
                columns[name] += [value] * episodes
            columns["episode"] += range(1, episodes + 1)
            columns["return"] += run.returns[task]
            columns["length"] += run.episode_lengths[task]
        if len(columns["episode"]) >= _ROW_GROUP:
            yield columns, len(columns["episode"])
            columns = {name: [] for name in COLUMNS}
    if columns["episode"]:
        yield columns, len(columns["episode"])
