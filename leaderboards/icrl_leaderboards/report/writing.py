"""Writing a report: `index.html`, `report.md` and the plots, the same bytes for the same runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from icrl_leaderboards.records import RunRecord
from icrl_leaderboards.report.html import render_html
from icrl_leaderboards.report.markdown import plot_name, render_markdown
from icrl_leaderboards.report.plots import draw_svg
from icrl_leaderboards.report.sections import Section, make_sections
from icrl_registry.errors import UsageError
from icrl_registry.hooks import ReportSection


def write_report(
    runs: Sequence[RunRecord], out_dir: Path | str, hook_sections: Sequence[ReportSection] = ()
) -> list[Path]:
    """Writes the report of `runs` into `out_dir` and returns the files' paths: the page, the Markdown, the plots.

    Raises:
        UsageError: the folder cannot be made or written.
    """
    folder = Path(out_dir)
    sections = make_sections(runs)
    headline = _headline(runs, sections)
    files = {
        "index.html": render_html(sections, hook_sections, headline),
        "report.md": render_markdown(sections, hook_sections, headline),
        **{plot_name(section): draw_svg(section.plot, legend=True) for section in sections},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_write(folder / name, content) for name, content in files.items()]
    except OSError as error:
        raise UsageError(
            f"cannot write the report into {folder}: {error.strerror}", "give --out another folder"
        ) from error


def _write(path: Path, content: str) -> Path:
    """Replaces the file in one step, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(content, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _headline(runs: Sequence[RunRecord], sections: Sequence[Section]) -> str:
    if not runs:
        return "No runs"
    methods = len({run.method for run in runs})
    environments = len({section.table.environment for section in sections})
    newest = max(run.created_at for run in runs)[:16].replace("T", " ")
    counts = [(len(runs), "run"), (methods, "method"), (environments, "environment")]
    texts = [f"{number} {noun}{'s' if number != 1 else ''}" for number, noun in counts]
    return f"{', '.join(texts)}; the newest of {newest} UTC"
