"""`icrl-bench data list`: what is in the home folder and how much room it takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.data.selection import rows_of, select, size
from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.options import JsonFlag, LeaderboardPlace, home_folder

if TYPE_CHECKING:
    from icrl_bench.artefacts.usage import Artefact

_WORDS = {
    "datasets": "data sets",
    "imports": "imported data sets",
    "checkpoints": "checkpoints",
    "progress": "unfinished trainings",
    "adaptations": "adaptations",
    "partial": "half written",
    "floors": "floors",
    "certificates": "certificates",
}


@takes_groups
def list_data(
    place: LeaderboardPlace,
    all_: Annotated[
        bool, typer.Option("--all", help="Each checkpoint, adaptation and imported data set, with the rows made of it.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """List the data sets in the home folder, and how much room histories, checkpoints and adaptations take."""
    from icrl_bench.artefacts.store import Store
    from icrl_bench.artefacts.usage import find_artefacts, sizes

    store = Store(home_folder(place.home))
    rows = [dataset.summary() for dataset in select(place.home, None)]
    found = find_artefacts(store, rows_of(place) if all_ else ())
    totals = sizes(store, found)
    if json_:
        document: dict[str, Any] = {"datasets": rows, "sizes": totals}
        typer.echo(json.dumps(document | ({"artefacts": [each.document() for each in found]} if all_ else {})))
        return
    if all_:
        print_artefacts(found)
    elif rows:
        _print_datasets(rows)
    else:
        typer.echo(
            f"no data sets in {store.root}; `icrl-bench run` collects them, `icrl-bench data import` brings them"
        )
    there = {kind: total for kind, total in totals.items() if total["count"]}
    words = [f"{_WORDS[kind]} {total['count']} ({size(total['bytes'])})" for kind, total in there.items()]
    if words:
        from rich.console import Console

        Console().print("\n" + " · ".join(words), markup=False, highlight=False)


def print_artefacts(found: Sequence[Artefact]) -> None:
    """One line an artefact: kind, address, what it is, age, size, and how many rows were made of it."""
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    numbers = [Column(name, justify="right", no_wrap=True) for name in ("days", "size", "rows")]
    columns = [Column("kind", no_wrap=True), Column("address", min_width=16, overflow="fold"), Column("what")]
    table = Table(*columns, *numbers, box=None, padding=(0, 1, 0, 0))
    for each in found:
        table.add_row(
            each.kind,
            Text(each.name, overflow="fold"),
            Text(each.what, overflow="fold"),
            f"{each.days:.0f}",
            size(each.bytes),
            str(len(each.rows) or "–"),
        )
    Console().print(table)


def _print_datasets(rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    names = [Column("address", min_width=16), *map(Column, ("environment", "source", "protocol"))]
    numbers = [Column(name, justify="right", no_wrap=True) for name in ("tasks", "env steps", "size")]
    table = Table(*names, *numbers, box=None, padding=(0, 1, 0, 0))
    for row in rows:
        words = [Text(row[name], overflow="fold") for name in ("address", "environment", "source", "protocol")]
        done = f"{row['tasks_done']}/{row['tasks']}"
        table.add_row(*words, done, f"{row['env_steps']:,}", size(row["bytes"]))
    Console().print(table)
