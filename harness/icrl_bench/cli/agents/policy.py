"""`icrl-bench policy export`: a trained agent as a folder that needs no harness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from icrl_bench.cli.agents.selection import RunArgument, find_record
from icrl_bench.cli.commands import CommandGroup
from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace, home_folder

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def callback() -> None:
    """Take a trained agent away."""


@app.command("export")
@takes_groups
def export(
    run: RunArgument,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder.", file_okay=False)],
    protocol: Annotated[
        str | None, typer.Option("--protocol", "-p", help="The protocol file that the run was made with.")
    ] = None,
    place: LeaderboardPlace,
    json_: JsonFlag = False,
) -> None:
    """Write a run's trained agent as a folder: weights, configuration and a README with the lines that load it.

    `icrl_registry.policies.load_policy` reads it with torch and the method's own package, without this harness.
    """
    from icrl_bench.artefacts.store import Store
    from icrl_bench.runs.exporting import export_policy

    record = find_record(place, run)
    export_policy(Store(home_folder(place.home)), record, out, protocol)
    files = sorted(path for path in out.iterdir())
    if json_:
        typer.echo(json.dumps({"run_id": record.run_id, "paths": [str(path) for path in files]}))
        return
    for path in files:
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")
