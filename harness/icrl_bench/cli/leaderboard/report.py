"""`icrl-bench leaderboard report`: the recorded runs as a page with plots, rankings, costs and provenance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.leaderboard.selection import Filters
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace, home_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icrl_leaderboards.database.filters import RunFilter
    from icrl_leaderboards.database.leaderboard import Leaderboard
    from icrl_leaderboards.runs.scores import RunScores


@takes_groups
def report(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for report.md and index.html.", file_okay=False)],
    filters: Filters,
    place: LeaderboardPlace,
    json_: JsonFlag = False,
) -> None:
    """Write a report: one self-contained HTML page with rankings, plots and provenance, and the same as Markdown."""
    from icrl_bench.artefacts.store import Store
    from icrl_bench.runs.inspection import differences_in_words, training_log
    from icrl_leaderboards.analysis.controls import control_rows
    from icrl_leaderboards.analysis.summary import group_runs, tables_of
    from icrl_leaderboards.report.writing import details_for, write_report
    from icrl_registry.hooks import HookManager

    with filters.open(place) as board:
        scores = board.scores(**filters.chosen)
        details = details_for(scores, board)
        certificates = board.certificates()
        controls = control_rows(_shuffled(board, filters.chosen, scores))
    store = Store(home_folder(place.home))
    logs = {record.run_id: training_log(store, record) for record in details}
    trainings = {run_id: log for run_id, log in logs.items() if log is not None}
    rows = [row for table in tables_of(group_runs(scores)) for row in table.as_json()]
    sections = HookManager().report_sections(rows)
    settings = differences_in_words(details)
    paths = write_report(scores, out, sections, details, certificates, trainings, controls, settings)
    if json_:
        typer.echo(json.dumps({"paths": [str(path) for path in paths]}))
        return
    for path in paths:
        typer.echo(str(path))


def _shuffled(board: Leaderboard, chosen: RunFilter, scores: Sequence[RunScores]) -> dict[str, list[RunScores]]:
    """The controls of `grid --controls`, by the protocol of the rows that they belong to."""
    from icrl_bench.planning import control_label

    known = set(board.names("protocol"))
    found = {}
    for protocol in {run.protocol for run in scores}:
        if (label := control_label(protocol)) in known:
            wanted: RunFilter = {**chosen, "protocol": label}
            found[protocol] = board.scores(**wanted)
    return found
