"""The leaderboard's tables for other programs: LaTeX (booktabs), Markdown, and CSV with numbers in full."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

from icrl_leaderboards.analysis.summary import Reference, Row, Table, group_runs, tables_of
from icrl_leaderboards.exchange.exporting import csv_text
from icrl_leaderboards.runs.scores import RunScores
from icrl_leaderboards.wording.cells import LABEL_LIMIT, cells_of, notes_of, settings_of
from icrl_leaderboards.wording.columns import Column, choose_column, choose_columns, default_columns, sorted_entries
from icrl_leaderboards.wording.text import latex, markdown

_PLACE = ("environment", "protocol", "track")
_IDENTITY = (*_PLACE, "kind", "method", "settings")


def format_tables(
    runs: Sequence[RunScores], form: str, columns: Sequence[str] | None, sort: str, limit: int = 0
) -> str:
    """The runs, grouped over seeds, in one of `FORMATS`; of each table the best `limit` rows, 0 for all.

    LaTeX and Markdown have the cells of the terminal. CSV is one table with a line a row or reference, and under the names
    of the columns their values without intervals, which `--json` has.

    Raises:
        UnknownNameError: a column, or what to sort by, is none of `columns.COLUMNS`.
    """
    order = choose_column(sort)
    chosen = None if columns is None else choose_columns(columns)
    tables = []
    for table in tables_of(group_runs(runs)):
        entries = sorted_entries(table, order)
        shown = [entry for entry in entries if isinstance(entry, Row)][: limit or None]
        kept = [entry for entry in entries if isinstance(entry, Reference) or entry in shown]
        tables.append((table, kept, chosen or default_columns(table)))
    return FORMATS[form](tables)


Chosen = tuple[Table, list[Row | Reference], list[Column]]


def _latex(tables: Sequence[Chosen]) -> str:
    parts = []
    for table, entries, columns in tables:
        title = " · ".join(latex(getattr(table, name), LABEL_LIMIT) for name in _PLACE)
        lines = [" & ".join(latex(cell) for cell in cells) + r" \\" for cells in _lines(table, entries, columns)]
        parts += [
            r"\begin{table}",
            rf"\caption{{{title}}}",
            rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\footnotesize {latex(note, 1000)}" for note in notes_of(table)),
            r"\end{table}",
            "",
        ]
    return "\n".join(["% needs \\usepackage{booktabs}", *parts])


def _markdown(tables: Sequence[Chosen]) -> str:
    parts = []
    for table, entries, columns in tables:
        parts += ["## " + " · ".join(markdown(getattr(table, name), LABEL_LIMIT) for name in _PLACE), ""]
        lines = ["| " + " | ".join(map(markdown, cells)) + " |" for cells in _lines(table, entries, columns)]
        parts += [lines[0], "| :-- |" + " --: |" * len(columns), *lines[1:], ""]
        parts += [line for note in notes_of(table) for line in (markdown(note, 1000), "")]
    return "\n".join(parts)


def _lines(table: Table, entries: Sequence[Row | Reference], columns: Sequence[Column]) -> list[list[str]]:
    """The heading and the cells of every line, as plain text."""
    lines = [["method", *(column.label for column in columns)]]
    for entry in entries:
        cells = cells_of(entry, table, " ", columns)
        settings = settings_of(entry) if isinstance(entry, Row) else []
        name = f"{cells['method']} ({', '.join(settings)})" if settings else cells["method"]
        lines.append([name, *(cells.get(column.label, "") for column in columns)])
    return lines


def _csv(tables: Sequence[Chosen]) -> str:
    columns = list(dict.fromkeys(column for _, _, chosen in tables for column in chosen))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_IDENTITY, *(column.name for column in columns)])
    for table, entries, _ in tables:
        place = [csv_text(getattr(table, name)) for name in _PLACE]
        for entry in entries:
            if isinstance(entry, Row):
                names = ["method", csv_text(entry.head.method), csv_text(", ".join(entry.settings))]
                values = [column.value(entry) for column in columns]
            else:
                names = [entry.kind, csv_text(entry.name), ""]
                values = [column.of_reference(entry) if column.of_reference else None for column in columns]
            writer.writerow([*place, *names, *("" if value is None else repr(value) for value in values)])
    return out.getvalue()


FORMATS: dict[str, Callable[[Sequence[Chosen]], str]] = {"latex": _latex, "markdown": _markdown, "csv": _csv}
