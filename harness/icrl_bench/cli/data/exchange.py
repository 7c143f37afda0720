"""`icrl-bench data import | export`: learning histories from and for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli import completion
from icrl_bench.cli.data.selection import select
from icrl_bench.cli.options import HomeOption, JsonFlag, home_folder
from icrl_registry.errors import UsageError

if TYPE_CHECKING:
    from icrl_bench.artefacts.imports import ForeignData
    from icrl_bench.artefacts.store import Store
    from icrl_registry.contracts import Environment, LearningHistory
    from icrl_registry.protocols.model import Protocol


TasksOf = Annotated[
    str | None,
    typer.Option(
        "--env",
        "-e",
        help="Whose tasks they are.  [default: what the files say]",
        autocompletion=completion.environments,
    ),
]
CountedProtocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        "-p",
        help="Say how many of this protocol's tasks the data hold.",
        autocompletion=completion.protocols,
    ),
]


def import_(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…", help=".npz and .safetensors files, folders of them, Minari data sets (a folder or an id)."
        ),
    ],
    env: TasksOf = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="VALUE,…", help="The task of one history whose file says none.")
    ] = None,
    protocol: CountedProtocol = "laptop",
    write_protocol: Annotated[
        Path | None,
        typer.Option(
            "--write-protocol", metavar="FILE", help="Write a protocol of their tasks, which extends --protocol."
        ),
    ] = None,
    home: HomeOption = None,
    json_: JsonFlag = False,
) -> None:
    """Bring learning histories that were collected elsewhere, as data of the source `imported`.

    Their address is a hash of their content: the same data are the same on every machine. docs/data.md has the formats.
    """
    from icrl_bench.artefacts import imports
    from icrl_bench.artefacts.store import Store
    from icrl_registry.protocols.loading import load_protocol

    store, chosen = Store(home_folder(home)), load_protocol(protocol)
    data = imports.read_files(files, env, _task(task))
    environment_id, environment = _environment(data.environment, chosen)
    content = imports.keep(store, environment, environment_id, data.histories)
    place = store.path(imports.KIND, content)
    source = imports.source_of(str(place))
    covered = _covered(environment, environment_id, chosen, data)
    if write_protocol is not None:
        _write_protocol(write_protocol, chosen, environment_id, (source, content), data)
    document: dict[str, Any] = {
        "content": content,
        "environment": environment_id,
        "path": str(place),
        "source": source,
        "histories": len(data.histories),
        "env_steps": sum(history.num_steps for history in data.histories),
        "protocol": chosen.id,
        "tasks": covered,
    }
    if json_:
        typer.echo(json.dumps(document))
        return
    labelled = sum(history.expert_actions is not None for history in data.histories)
    _say_imported(document, labelled if source == imports.WITH_EXPERTS else 0, write_protocol)
    under = f"--protocol {write_protocol or protocol}" + ("" if write_protocol else f" --source {place}")
    typer.echo(f"icrl-bench run --method ad-mamba --env {environment_id} {under}")


def _say_imported(document: dict[str, Any], labelled: int, written: Path | None) -> None:
    """What was imported, in words; `labelled` histories say what an expert would do."""
    typer.echo(
        f"{document['histories']} histories of {document['environment']}, {document['env_steps']:,} env steps: "
        f"imported data {document['content']}"
    )
    typer.echo(f"  in {document['path']}")
    if document["tasks"]:
        words = ", ".join(f"{here} of {total} {split}" for split, (here, total) in document["tasks"].items())
        typer.echo(f"  tasks of {document['protocol']} that they hold: {words}")
    if written is not None:
        typer.echo(f"  wrote {written}, a protocol of their tasks")
    if labelled:
        typer.echo(f"  {labelled} of them with expert actions, from which dpt learns")


def export(
    dataset: Annotated[str, typer.Argument(help="A data set's address or its beginning, or that of imported data.")],
    format_: Annotated[str, typer.Option("--format", "-f", help="npz, minari, or safetensors (what --source reads).")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write; it must be new or empty.", file_okay=False)
    ],
    experts: Annotated[
        bool, typer.Option("--experts", help="Also what the source's final policy would have done at every step.")
    ] = False,
    home: HomeOption = None,
    json_: JsonFlag = False,
) -> None:
    """Write a data set's learning histories for other programs; `data import` reads each format back, bit for bit."""
    from icrl_bench.artefacts import imports
    from icrl_bench.artefacts.store import Store

    if format_ not in imports.FORMATS:
        raise UsageError(f"unknown format '{format_}'", f"one of {', '.join(imports.FORMATS)}")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty", "name a new folder")
    environment, name, histories = _histories(Store(home_folder(home)), home, dataset, experts)
    if not histories:
        raise UsageError(f"{dataset} holds no histories yet", "`icrl-bench run` collects them")
    imports.write_files(histories, environment, out, format_, name)
    if json_:
        document = {"out": str(out), "format": format_, "environment": environment, "histories": len(histories)}
        typer.echo(json.dumps({**document, "content": imports.content_hash(environment, histories)}))
        return
    typer.echo(f"wrote {len(histories)} histories of {environment} to {out}")


def _task(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"cannot read --task {text!r}", "write the parameters with commas, such as --task 0.1,-0.2"
        ) from error


def _environment(name: str, protocol: Protocol) -> tuple[str, Environment]:
    from icrl_registry.configuration import build_config
    from icrl_registry.discovery import load

    plugin = load("environment", protocol.full_name(name))
    made = plugin.component(build_config(plugin.component.Config, {}, "environment"))
    return plugin.entry.name, made


def _write_protocol(
    path: Path, base: Protocol, environment_id: str, source: tuple[str, str], data: ForeignData
) -> None:
    """A protocol file with the data's tasks in the data's splits; where they have none for validation, those of training."""
    from icrl_registry.contracts import SPLITS
    from icrl_registry.protocols.splits import DECIMALS

    if path.exists():
        raise UsageError(f"{path} is there already", "name a new file")
    rows = {
        split: [
            [round(value, DECIMALS) for value in history.task.parameters]
            for history in data.histories
            if history.task.split == split
        ]
        for split in SPLITS
    }
    for split in ("train", "test"):
        if not rows[split]:
            raise UsageError(
                f"the data hold no {split} tasks", "say `split` in the files: a protocol needs training and test tasks"
            )
    name = "".join(letter if letter.isalnum() else "-" for letter in path.stem.lower()).strip("-") or "mine"
    lines = [
        f'id = "{name.removesuffix("-v1")}-v1"',
        f'summary = "{environment_id} on imported data."',
        f'extends = "{base.id}"',
        "",
        f"[environments.{environment_id}]",
        f'source = "{source[0]}"',
        "",
        f"[environments.{environment_id}.settings.source]",
        f'content = "{source[1]}" # which data; `icrl-bench data import` brings them to another machine',
        "",
        f"[environments.{environment_id}.split]",
        *(f"{split} = {json.dumps(tasks) if tasks else json.dumps('train')}" for split, tasks in rows.items()),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _covered(
    environment: Environment, environment_id: str, protocol: Protocol, data: ForeignData
) -> dict[str, tuple[int, int]]:
    """Split → how many of its tasks the data hold, and how many there are; empty where the protocol has no such tasks."""
    from icrl_registry.errors import BenchError
    from icrl_registry.protocols.splits import DECIMALS, draw_tasks

    def place(parameters: Any) -> tuple[float, ...]:
        return tuple(round(value, DECIMALS) + 0.0 for value in parameters)

    try:
        tasks = draw_tasks(environment, protocol.plan_for(environment_id).split)
    except BenchError:
        return {}
    held = {place(history.task.parameters) for history in data.histories}
    return {
        split: (sum(place(task.parameters) in held for task in members), len(members))
        for split, members in tasks.items()
    }


def _histories(store: Store, home: Path | None, selector: str, experts: bool) -> tuple[str, str, list[LearningHistory]]:
    """Environment, a name for the data, and the histories: of a collected data set, or of imported data."""
    from icrl_bench.artefacts import imports
    from icrl_bench.artefacts.datasets import labelled_by_experts

    named = [name for name in store.names(imports.KIND) if name.startswith(selector)]
    if len(named) == 1:
        if experts:
            raise UsageError(
                f"{named[0]} are imported data: they bring their experts, if any", "export without --experts"
            )
        data = imports.read_files([store.path(imports.KIND, named[0])])
        return data.environment, f"{data.environment}-{named[0]}", data.histories
    chosen = select(home, selector)
    if len(chosen) > 1:
        words = ", ".join(f"{each.address} ({each.about['source']})" for each in chosen)
        raise UsageError(f"'{selector}' means {len(chosen)} data sets: {words}", "give an address")
    (dataset,) = chosen
    environment, source = str(dataset.about["environment"]), str(dataset.about["source"])
    histories = [dataset.history(task) for task in dataset.tasks]
    if experts:
        histories = labelled_by_experts(dataset, histories)
    return environment, f"{environment}-{source}-{dataset.address}", histories
