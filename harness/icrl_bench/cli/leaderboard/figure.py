"""`icrl-bench leaderboard figure`: one figure as SVG, PDF or PNG for a paper, with its numbers as CSV beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icrl_bench.cli import completion
from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.leaderboard.selection import FieldFilters, ProtocolFilter, TrackFilter
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace

if TYPE_CHECKING:
    from icrl_leaderboards.analysis.summary import Table

_INCHES = {"in": 1.0, "": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72}


@takes_groups
def figure(
    kind: Annotated[str, typer.Argument(help="curves, tasks, profile, cost, setting or claims.", metavar="KIND")],
    env: Annotated[str, typer.Option("--env", "-e", help="The environment.", autocompletion=completion.environments)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture: .svg, .pdf or .png.", dir_okay=False)],
    protocol: ProtocolFilter = None,
    track: TrackFilter = None,
    methods: Annotated[str | None, typer.Option(help="Only these, such as ad-mamba,mql.")] = None,
    width: Annotated[str | None, typer.Option(help="Width, such as 3.25in or 84mm.")] = None,
    font: Annotated[str | None, typer.Option(help="Font family, such as 'Times New Roman'.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="NAME=TEXT: how a method is called.")] = None,
    *,
    place: LeaderboardPlace,
    json_: JsonFlag = False,
) -> None:
    """Draw a figure for a paper, with its numbers as CSV beside it."""
    from icrl_leaderboards.analysis.summary import group_runs, tables_of
    from icrl_leaderboards.drawing import require_format
    from icrl_leaderboards.report.figures import FigureData, make_figures, require_kind
    from icrl_leaderboards.report.styles import line_styles, styles_of_table
    from icrl_leaderboards.report.writing import details_for
    from icrl_registry.errors import UsageError

    require_kind(kind)
    require_format(out)
    inches, names = _inches(width), _labels(label or [])
    chosen = [each.strip() for each in methods.split(",")] if methods else []
    filters = FieldFilters(env, protocol, track)
    with filters.open(place) as board:
        for method in chosen:
            board.require_names(method=method)
        scores = board.scores(**filters.chosen)
        details = details_for(scores, board)
    rows = group_runs(scores)
    table = _only(tables_of([row for row in rows if not chosen or row.head.method in chosen]))
    styles = styles_of_table(table, line_styles(rows))
    data = FigureData(table, styles, {each.run_id: each for each in details}, "")
    figures = make_figures(kind, data)
    if not figures:
        raise UsageError(f"the runs have nothing for a figure of {kind}", "choose another kind, or record more runs")
    paths = []
    for index, each in enumerate(figures):
        path = out if index == 0 else out.with_name(out.stem + each.name + out.suffix)
        each.save(path, inches, font, names)
        paths += [path, path.with_suffix(".csv")]
    typer.echo(json.dumps({"paths": [str(path) for path in paths]}) if json_ else "\n".join(map(str, paths)))


def _only(tables: Sequence[Table]) -> Table:
    """The one table that the filters leave."""
    from icrl_registry.errors import UsageError

    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise UsageError(
            "no run of these methods fits the other options", "`icrl-bench leaderboard show` lists the runs"
        )
    found = "; ".join(f"--env {each.environment} --protocol {each.protocol} --track {each.track}" for each in tables)
    raise UsageError("a figure shows one environment under one protocol and track", f"choose among {found}")


def _inches(width: str | None) -> float | None:
    from icrl_registry.errors import UsageError

    if width is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(in|cm|mm|pt|)", width.strip())
    inches = float(found[1]) * _INCHES[found[2]] if found else 0.0
    if not 2.0 <= inches <= 20.0:
        raise UsageError(
            f"a figure cannot be {width!r} wide", "give --width between 2in and 20in, such as 3.25in or 84mm"
        )
    return inches


def _labels(given: Sequence[str]) -> dict[str, str]:
    from icrl_registry.errors import UsageError

    pairs = [each.partition("=") for each in given]
    for name, _, text in pairs:
        if not name or not text:
            raise UsageError(f"--label {name!r} has no text", "write --label NAME=TEXT, such as --label ad-mamba=AD")
    return {name: text for name, _, text in pairs}
