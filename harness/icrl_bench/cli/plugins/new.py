"""`icrl-bench plugins new`: begins a plugin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from icrl_bench.cli.options import JsonFlag


def new_plugin(
    kind: Annotated[
        str,
        typer.Argument(help="environment, source, backbone, method, benchmark, protocol or hooks.", show_default=False),
    ],
    name: Annotated[str, typer.Argument(help="What it is called: lower case and dashes, such as my-world.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write.  [default: the name]", file_okay=False)
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Write a distribution with one small part that works: project file, part, test and CI. Change it from there."""
    from icrl_bench.scaffolding.distribution import write_distribution

    written = write_distribution(kind, name, out or Path(name))
    files = [str(path.relative_to(written.folder)) for path in written.files]
    if json_:
        typer.echo(json.dumps({"folder": str(written.folder), "files": files, "kind": kind, "name": written.name}))
        return
    for file in files:
        typer.echo(f"wrote {written.folder / file}")
    typer.echo(f"\npip install -e {written.folder}")
    typer.echo(f"icrl-bench plugins check {written.name} --kind {kind}")
