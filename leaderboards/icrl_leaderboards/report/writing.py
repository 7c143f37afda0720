"""Writing a report: `index.html`, `report.md` and the plots, the same bytes for the same runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from icrl_leaderboards.analysis.controls import ControlRows
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.report.html import render_html
from icrl_leaderboards.report.markdown import figures_of, plot_file, render_markdown
from icrl_leaderboards.report.sections import Certificates, ReportBoard, make_boards
from icrl_leaderboards.runs.record import RunRecord
from icrl_leaderboards.runs.scores import RunScores
from icrl_leaderboards.runs.training import TrainingLog
from icrl_registry.errors import UsageError
from icrl_registry.files import replace_file
from icrl_registry.hooks import ReportSection

#: Runs whose provenance and configuration the page shows, the newest of all; more would make it too large to open.
MOST_DETAILED = 300
#: What an earlier report may have left in its folder (before they had names, tables were numbered).
_PLOT_FILE = re.compile(r"results-(\d+|[a-z0-9-]+-(online|offline))(-[a-z0-9-]+)?\.svg")


def write_report(
    runs: Sequence[RunRecord | RunScores],
    out_dir: Path | str,
    hook_sections: Sequence[ReportSection] = (),
    details: Sequence[RunRecord] | None = None,
    certificates: Certificates | None = None,
    trainings: Mapping[str, TrainingLog] | None = None,
    controls: ControlRows | None = None,
    settings: Mapping[str, str] | None = None,
) -> list[Path]:
    """Writes the report of `runs` into `out_dir` and returns the files' paths: the page, the Markdown, the plots.

    Args:
        runs: what is ranked and drawn.
        out_dir: made if need be; plots that an earlier report left there and this one does not have are removed.
        hook_sections: sections that plugins add.
        details: full records of the runs whose provenance and configuration are shown; without it the newest of those
            `runs` that are full records.
        certificates: of environments, by environment and protocol; each heads its environment's section.
        trainings: how runs were trained, by run id; shown in their fold-outs.
        controls: of rows; shown beside them.
        settings: in what runs differ from their protocols, in words, by run id; shown in their fold-outs.

    Raises:
        UsageError: the folder cannot be made or written.
    """
    folder = Path(out_dir)
    scores = [RunScores.from_record(run) if isinstance(run, RunRecord) else run for run in runs]
    if details is None:
        wanted = set(newest_runs(scores))
        details = [run for run in runs if isinstance(run, RunRecord) and run.run_id in wanted]
    records = {run.run_id: run for run in details}
    boards = make_boards(scores, records, certificates, controls)
    headline = _headline(scores, boards)
    files = {
        "index.html": render_html(boards, records, hook_sections, headline, trainings, settings),
        "report.md": render_markdown(boards, records, hook_sections, headline),
    }
    figures = [figure for board in boards for section in board.sections for figure in figures_of(section)]
    files |= {plot_file(figure): figure.svg for figure in figures}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [_write(folder / name, content) for name, content in files.items()]
        _remove_old_plots(folder, files)
    except OSError as error:
        raise UsageError(
            f"cannot write the report into {folder}: {error.strerror}", "give --out another folder"
        ) from error
    return written


def details_for(scores: Sequence[RunScores], board: Leaderboard) -> list[RunRecord]:
    """The full records that a report of `scores` shows or draws from: the newest runs, and one run for each row.

    The latter say what a setting is in runs that leave it as their protocol has it, and know the source's learning curve.
    """
    first: dict[tuple[str, ...], RunScores] = {}
    for run in scores:
        if not run.variant:
            first.setdefault((run.environment, run.protocol, run.track, run.method), run)
    wanted = {*newest_runs(scores), *(run.run_id for run in list(first.values())[:MOST_DETAILED])}
    return board.runs(run_ids=sorted(wanted))


def newest_runs(scores: Sequence[RunScores]) -> list[str]:
    """The ids of the newest runs, at most `MOST_DETAILED`."""
    newest = sorted(scores, key=lambda run: (run.created_at, run.run_id), reverse=True)
    return [run.run_id for run in newest[:MOST_DETAILED]]


def _remove_old_plots(folder: Path, kept: Iterable[str]) -> None:
    names = set(kept)
    for path in folder.glob("results-*.svg"):
        if path.name not in names and _PLOT_FILE.fullmatch(path.name):
            path.unlink()


def _write(path: Path, content: str) -> Path:
    """Replaces the file in one step, so that a reader never sees half of it."""
    replace_file(path, content.encode())
    return path


def _headline(runs: Sequence[RunScores], boards: Sequence[ReportBoard]) -> str:
    if not runs:
        return "No runs"
    methods = len({run.method for run in runs})
    environments = len({run.environment for run in runs})
    newest = max(run.created_at for run in runs)[:16].replace("T", " ")
    counts = [(len(runs), "run"), (methods, "method"), (environments, "environment")]
    texts = [f"{number:,} {noun}{'s' if number != 1 else ''}" for number, noun in counts]
    tables = len({(run.environment, run.protocol, run.track) for run in runs})
    hidden = tables - sum(len(board.sections) for board in boards)
    note = f"; {hidden:,} of {tables:,} tables, with the oldest runs, are left out: choose with --env or --protocol"
    return f"{', '.join(texts)}; the newest of {newest} UTC{note if hidden else ''}"
