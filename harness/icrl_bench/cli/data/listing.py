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
    words = [f"{_WORDS.get(kind, kind)} {total['count']} ({size(total['bytes'])})" for kind, total in there.items()]
    if words:
        from rich.console import Console

        Console().print("\n" + " · ".join(words), markup=False, highlight=False)


def print_artefacts(found: Sequence[Artefact]) -> None:
    """One line an artefact: kind, address, what it is, age, size, and how many rows were made of it."""
    from icrl_leaderboards.terminal.listing import print_listing

    numbers = ("days", "size", "rows")
    lines = [
        [each.kind, each.name, f"{each.days:.0f}", size(each.bytes), str(len(each.rows) or "–"), each.what]
        for each in found
    ]
    print_listing(["kind", "address", *numbers, "what"], lines, right=numbers)


def _print_datasets(rows: Sequence[dict[str, Any]]) -> None:
    from icrl_leaderboards.terminal.listing import print_listing

    names, numbers = ("address", "environment", "source", "protocol"), ("tasks", "env steps", "size")
    lines = [
        [
            *(row[name] for name in names),
            f"{row['tasks_done']}/{row['tasks']}",
            f"{row['env_steps']:,}",
            size(row["bytes"]),
        ]
        for row in rows
    ]
    print_listing([*names, *numbers], lines, right=numbers)
