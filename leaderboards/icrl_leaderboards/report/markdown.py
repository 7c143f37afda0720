"""The report as Markdown, with the plots as SVG files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icrl_leaderboards.analysis.summary import Reference, Row
from icrl_leaderboards.report.figures.figure import Figure
from icrl_leaderboards.report.ranking import rank_methods
from icrl_leaderboards.report.sections import MOST_ROWS, ReportBoard, Section
from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.wording.cells import COST_COLUMNS, RESULT_COLUMNS, cells_of, marks_of, notes_of
from icrl_leaderboards.wording.certificates import certificate_entries
from icrl_leaderboards.wording.controls import control_cell, control_columns, control_notes
from icrl_leaderboards.wording.formatting import MISSING, with_interval
from icrl_leaderboards.wording.text import markdown, visible
from icrl_registry.hooks import ReportSection


def render_markdown(
    boards: Sequence[ReportBoard], records: Mapping[str, RunRecord], extra: Sequence[ReportSection], headline: str
) -> str:
    """The document; each figure shows the file `plot_file(figure)`."""
    blocks = ["# icrl-bench leaderboard", headline]
    if not boards:
        blocks.append("No runs yet. `icrl-bench run --method ad-mamba --env pusher-goal` makes the first.")
    for board in boards:
        blocks.append(f"## {markdown(board.protocol)} · {markdown(board.track)}")
        if board.changes:
            blocks.append(f"{markdown(board.changes, 400)}.")
        if len(board.sections) > 1:
            blocks += [
                "Normalised score of the last 10 %: 0 is random, 1 the source on the task itself.",
                _ranking(board),
            ]
        for section in board.sections:
            blocks += _section(section, records)
    for each in extra:
        body = "\n".join(visible(line).replace("<", "&lt;") for line in each.body.splitlines())
        blocks += [f"## {markdown(each.title)}", body]
    return "\n\n".join(blocks) + "\n"


def figures_of(section: Section) -> list[Figure]:
    """The figures that the Markdown report shows."""
    return [*section.figures, *section.sweeps, *section.costs]


def plot_file(figure: Figure) -> str:
    """The file of a figure."""
    return f"{figure.name}.svg"


def _ranking(board: ReportBoard) -> str:
    names = [markdown(section.table.environment, 60) for section in board.sections]
    lines = [_line(["method", "overall", *names]), _rule(1, len(names) + 1)]
    for entry in rank_methods([section.table for section in board.sections])[:MOST_ROWS]:
        cells = [MISSING if row is None else with_interval(row.normalised_score, 2) for row in entry.rows]
        lines.append(_line([markdown(entry.method, 60), with_interval(entry.overall, 2), *cells]))
    return "\n".join(lines)


def _section(section: Section, records: Mapping[str, RunRecord]) -> list[str]:
    table = section.table
    title = " · ".join(markdown(part) for part in (table.environment, table.protocol, table.track))
    notes = [*notes_of(table), *control_notes(table.rows, section.controls)]
    return [
        f"### {title}",
        *_certificate(section),
        *map(_picture, section.figures),
        _grid(section, [*RESULT_COLUMNS, *control_columns(table.rows, section.controls)], with_references=True),
        "\n".join(f"- {markdown(note, 400)}" for note in notes),
        *map(_picture, (*section.sweeps, *section.costs)),
        _grid(section, COST_COLUMNS, with_references=False),
        "#### Runs",
        _runs(section, records),
    ]


def _certificate(section: Section) -> list[str]:
    """What proves that the environment is a test, as a list; nothing where there is no certificate."""
    if section.certificate is None:
        return []
    entries = certificate_entries(section.certificate)
    return ["\n".join(f"- {name}: {markdown(value, 400)}" for name, value in entries)]


def _picture(figure: Figure) -> str:
    """A figure below its heading; an empty alternative would hide it from those who do not see it."""
    words = f"{markdown(figure.title, 200)}. {markdown(figure.description, 2000)}"
    return f"**{markdown(figure.heading, 120)}**\n\n![{words}]({plot_file(figure)})"


def _grid(section: Section, columns: Sequence[str], with_references: bool) -> str:
    lines = [_line(["method", *columns]), _rule(1, len(columns))]
    shown = {id(row) for row in section.table.rows[:MOST_ROWS]}
    for entry in section.table.ranked:
        cells = cells_of(entry, section.table, " ")
        if isinstance(entry, Reference):
            if not with_references:
                continue
            name = f"*{entry.name}*"
        elif id(entry) in shown:
            name = _name(entry)
            cells |= control_cell(entry, section.controls)
        else:
            continue
        lines.append(_line([name, *(cells.get(column, "") for column in columns)]))
    return "\n".join(lines)


def _name(row: Row) -> str:
    settings = "".join(f"<br>{markdown(each, 60)}" for each in row.settings)
    return markdown(row.head.method, 60) + "".join(marks_of(row)) + settings


def _runs(section: Section, records: Mapping[str, RunRecord]) -> str:
    header = ("run", "method", "seed", "recorded", "kernel", "git revision", "checkpoint", "dataset")
    lines = [_line(header), _rule(len(header), 0)]
    shown = [records[run.run_id] for run in section.runs if run.run_id in records]
    for run in shown:
        facts = (str(run.provenance.get("kernel", "")), _revision(run), run.checkpoint, run.dataset)
        names = [markdown(each, 60) for each in (run.run_id, run.method, *facts)]
        names[2:2] = [str(run.seed), run.created_at]
        lines.append(_line(names))
    hidden = len(section.runs) - len(shown)
    note = f"\n\nThe newest runs of the report; {hidden:,} older ones are not listed." if hidden else ""
    return "\n".join(lines) + note


def _revision(run: RunRecord) -> str:
    source = run.provenance.get("source")
    revision = source.get("git_revision") if isinstance(source, Mapping) else None
    return str(revision or run.provenance.get("git", ""))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(left: int, right: int) -> str:
    return "|" + " :-- |" * left + " --: |" * right
