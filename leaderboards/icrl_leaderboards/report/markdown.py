"""The report as Markdown, with the plots as SVG files beside it."""

from __future__ import annotations

from collections.abc import Sequence

from icrl_leaderboards.cells import COST_COLUMNS, RESULT_COLUMNS, cells_of, marks_of, notes_of
from icrl_leaderboards.report.html import describe
from icrl_leaderboards.report.sections import Section
from icrl_leaderboards.summary import Row
from icrl_leaderboards.text import markdown, visible
from icrl_registry.hooks import ReportSection


def render_markdown(sections: Sequence[Section], extra: Sequence[ReportSection], headline: str) -> str:
    """The document; section N shows the file `plot_name(N)`."""
    blocks = ["# icrl-bench leaderboard", headline]
    if not sections:
        blocks.append("No runs yet. `icrl-bench run --method ad-mamba --env pusher-goal` makes the first.")
    for section in sections:
        blocks += _section(section)
    for each in extra:
        body = "\n".join(visible(line).replace("<", "&lt;") for line in each.body.splitlines())
        blocks += [f"## {markdown(each.title)}", body]
    return "\n\n".join(blocks) + "\n"


def plot_name(section: Section) -> str:
    """The file of a section's plot."""
    return f"{section.anchor}.svg"


def _section(section: Section) -> list[str]:
    table = section.table
    title = " · ".join(markdown(part) for part in (table.environment, table.protocol, table.track))
    return [
        f"## {title}",
        f"![{markdown(describe(section.plot), 2000)}]({plot_name(section)})",
        _grid(section, RESULT_COLUMNS, with_references=True),
        "\n".join(f"- {markdown(note, 400)}" for note in notes_of(table)),
        _grid(section, COST_COLUMNS, with_references=False),
        "### Runs",
        _runs(section),
    ]


def _grid(section: Section, columns: Sequence[str], with_references: bool) -> str:
    lines = ["| method | " + " | ".join(columns) + " |", "| :-- |" + " --: |" * len(columns)]
    for entry in section.table.ranked:
        cells = cells_of(entry, section.table, " ")
        if isinstance(entry, Row):
            settings = "".join(f"<br>{markdown(each, 60)}" for each in entry.settings)
            name = markdown(entry.head.method, 60) + "".join(marks_of(entry)) + settings
        elif with_references:
            name = f"*{entry.name}*"
        else:
            continue
        lines.append("| " + " | ".join([name, *(cells.get(column, "") for column in columns)]) + " |")
    return "\n".join(lines)


def _runs(section: Section) -> str:
    header = ("run", "method", "seed", "recorded", "kernel", "git revision", "checkpoint", "dataset")
    lines = ["| " + " | ".join(header) + " |", "|" + " :-- |" * len(header)]
    for run in section.runs:
        kernel, revision = (str(run.provenance.get(name, "")) for name in ("kernel", "git"))
        names = [markdown(each, 60) for each in (run.run_id, run.method, kernel, revision, run.checkpoint, run.dataset)]
        names[2:2] = [str(run.seed), run.created_at]
        lines.append("| " + " | ".join(names) + " |")
    return "\n".join(lines)
