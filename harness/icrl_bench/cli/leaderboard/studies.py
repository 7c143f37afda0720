"""`icrl-bench leaderboard studies`: the recorded sweeps as tables and pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace
from icrl_registry.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from icrl_leaderboards.scores import RunScores
    from icrl_leaderboards.studies import Study


@takes_groups
def studies(
    *,
    name: Annotated[str | None, typer.Argument(help="One study.  [default: all of them]")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Picture of the study to write, SVG or PNG.", dir_okay=False)
    ] = None,
    place: LeaderboardPlace,
    json_: JsonFlag = False,
) -> None:
    """Print the recorded studies: one table each, a row for each combination of settings."""
    from icrl_leaderboards.study_results import print_study, results_of, study_json

    if plot is not None and name is None:
        raise UsageError("--plot draws one study", "name it: `icrl-bench leaderboard studies NAME --plot FILE.svg`")
    with place.open() as board:
        found = board.studies(name)
        if name is not None and not found:
            raise unknown_name("study", name, [study.name for study in board.studies()])
        scores = {study.name: board.scores(run_ids=study.run_ids) for study in found}
    if name is not None:
        show_study(found[0], scores[name], plot, json_)
        return
    results = {study.name: results_of(study, scores[study.name]) for study in found}
    if json_:
        typer.echo(
            json.dumps({"studies": [study_json(study, results[study.name]) for study in found]}, allow_nan=False)
        )
        return
    for study in found:
        print_study(study, results[study.name])
    if not found:
        typer.echo("no studies yet: `icrl-bench sweep --method M --env E --vary KEY=V1,V2` makes one")


def show_study(study: Study, scores: Sequence[RunScores], plot: Path | None, as_json: bool) -> int:
    """Prints a study and draws it if anything of it is recorded; returns how many cells failed."""
    from icrl_leaderboards.study_results import plot_study, print_study, results_of, study_json

    results = results_of(study, scores)
    if plot is not None and scores:
        plot_study(study, results, plot)
    failed = sum(result.status == "failed" for result in results)
    if as_json:
        document: dict[str, Any] = study_json(study, results)
        document |= {"failed": failed, "plot": str(plot) if plot is not None and scores else None}
        typer.echo(json.dumps(document, allow_nan=False))
        return failed
    print_study(study, results)
    done = sum(result.status == "done" for result in results)
    words = [f"{done} of {len(results)} cells done", *([f"{failed} failed"] if failed else [])]
    typer.echo(", ".join(words))
    if plot is not None and scores:
        typer.echo(f"wrote {plot}", err=True)
    return failed
