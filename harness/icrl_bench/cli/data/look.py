"""`icrl-bench data show | verify | plot`: whether the sources learned, and whether everything is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from icrl_bench.cli.data.selection import Selector, number, select
from icrl_bench.cli.options import HomeOption, JsonFlag, home_folder


def show_data(dataset: Selector = None, home: HomeOption = None, json_: JsonFlag = False) -> None:
    """Show each task's history: first and last returns, and whether the source improved on it."""
    rows = [{**chosen.summary(), "histories": chosen.histories()} for chosen in select(home, dataset)]
    if json_:
        typer.echo(json.dumps({"datasets": rows}))
        return
    from rich.console import Console
    from rich.table import Column, Table

    for row in rows:
        title = f"{row['address']}: {row['environment']}, {row['source']}"
        numbers = [
            Column(name, justify="right", no_wrap=True) for name in ("episodes", "first tenth", "last tenth", "greedy")
        ]
        columns = [Column("task", no_wrap=True), *numbers, Column("", no_wrap=True)]
        table = Table(*columns, title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for history in row["histories"]:
            table.add_row(
                history["task"],
                str(history["episodes"]),
                number(history["initial_return"]),
                number(history["final_return"]),
                number(history["greedy_return"]),
                "" if history["improved"] else "did not improve",
            )
        Console().print(table)


def verify_data(
    dataset: Selector = None,
    home: HomeOption = None,
    discard_damaged: Annotated[
        bool, typer.Option("--discard-damaged", help="Remove damaged artefacts; the next run makes them again.")
    ] = False,
    json_: JsonFlag = False,
) -> None:
    """Compare every stored file with its checksum: histories, checkpoints, floors and adaptations. Exit code 5 if damaged."""
    from icrl_bench.artefacts.datasets import find_damage
    from icrl_bench.artefacts.store import REBUILD_HINT, Store
    from icrl_bench.artefacts.usage import checked_kinds
    from icrl_registry.errors import DamagedArtefactError

    store = Store(home_folder(home))
    kinds = [f"datasets/{chosen.address}" for chosen in select(home, dataset)]
    if dataset is None:
        kinds += checked_kinds(store)
    checked, damage = find_damage(store, kinds)
    if discard_damaged:
        for kind, name, _ in damage:
            store.discard(kind, name)
    problems = [problem for _, _, found in damage for problem in found]
    if problems and not discard_damaged:
        raise DamagedArtefactError("; ".join(problems), REBUILD_HINT)
    if json_:
        typer.echo(json.dumps({"checked": checked, "discarded": problems}))
        return
    typer.echo(f"{checked} artefacts checked, {len(damage)} discarded" if damage else f"{checked} artefacts are whole")
    for problem in problems:
        typer.echo(f"  {problem}")


def plot_data(
    dataset: Selector = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write (PNG or SVG).", dir_okay=False)] = Path(
        "learning-curves.png"
    ),
    home: HomeOption = None,
    json_: JsonFlag = False,
) -> None:
    """Plot every task's learning curve; histories that did not improve are marked."""
    from icrl_bench.artefacts.datasets import plot_learning_curves

    chosen = select(home, dataset)
    flagged = plot_learning_curves(chosen, out)
    if json_:
        typer.echo(json.dumps({"picture": str(out), "did_not_improve": flagged}))
        return
    typer.echo(f"wrote {out}")
    if flagged:
        typer.echo(f"did not improve: {', '.join(flagged)}")
