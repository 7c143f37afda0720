"""`icrl-bench data`: what was collected, whether it is whole, and whether the sources learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli.options import HomeOption, JsonFlag, home_folder

if TYPE_CHECKING:
    from icrl_bench.artefacts.datasets import Dataset

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Selector = Annotated[
    str | None, typer.Argument(help="An address or its beginning, or an environment's name.  [default: all data sets]")
]


@app.command("list")
def list_data(home: HomeOption = None, json_: JsonFlag = False) -> None:
    """List the data sets in the home folder."""
    rows = [dataset.summary() for dataset in _select(home, None)]
    if json_:
        typer.echo(json.dumps({"datasets": rows}))
        return
    if not rows:
        typer.echo(f"no data sets in {home_folder(home)}; `icrl-bench run` collects them")
        return
    from icrl_leaderboards.terminal.listing import print_listing

    names, numbers = ("address", "environment", "source", "protocol"), ("tasks", "env steps", "size")
    lines = [
        [
            *(row[name] for name in names),
            f"{row['tasks_done']}/{row['tasks']}",
            f"{row['env_steps']:,}",
            _size(row["bytes"]),
        ]
        for row in rows
    ]
    print_listing([*names, *numbers], lines, right=numbers)


@app.command("show")
def show_data(dataset: Selector = None, home: HomeOption = None, json_: JsonFlag = False) -> None:
    """Show each task's history: first and last returns, and whether the source improved on it."""
    rows = [{**chosen.summary(), "histories": chosen.histories()} for chosen in _select(home, dataset)]
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
                _number(history["initial_return"]),
                _number(history["final_return"]),
                _number(history["greedy_return"]),
                "" if history["improved"] else "did not improve",
            )
        Console().print(table)


@app.command("verify")
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
    from icrl_registry.errors import DamagedArtefactError

    store = Store(home_folder(home))
    kinds = [f"datasets/{chosen.address}" for chosen in _select(home, dataset)]
    if dataset is None:
        kinds += ["checkpoints", "progress", "floors", "adaptations"]
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


@app.command("plot")
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

    chosen = _select(home, dataset)
    flagged = plot_learning_curves(chosen, out)
    if json_:
        typer.echo(json.dumps({"picture": str(out), "did_not_improve": flagged}))
        return
    typer.echo(f"wrote {out}")
    if flagged:
        typer.echo(f"did not improve: {', '.join(flagged)}")


def _select(home: Path | None, selector: str | None) -> list[Dataset]:
    from icrl_bench.artefacts.datasets import list_datasets
    from icrl_bench.artefacts.store import Store
    from icrl_registry.errors import unknown_name

    datasets = list_datasets(Store(home_folder(home)))
    if selector is None:
        return datasets
    chosen = [
        dataset
        for dataset in datasets
        if dataset.address.startswith(selector) or dataset.about["environment"].startswith(selector)
    ]
    if not chosen:
        names = [name for dataset in datasets for name in (dataset.address, dataset.about["environment"])]
        raise unknown_name("data set", selector, names, "icrl-bench data list")
    return chosen


def _size(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e7 else f"{count / 1e3:,.0f} kB"


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.2f}"
