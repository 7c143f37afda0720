"""`icrl-bench tasks ENV`: the tasks of every split, or what proves that they test learning in context."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from icrl_bench.cli import completion
from icrl_bench.cli.groups import takes_groups
from icrl_bench.cli.options import JobsOption, JsonFlag, LeaderboardPlace, OwnProtocolOption, home_folder
from icrl_bench.machine.cpu_settings import set_for_training
from icrl_bench.machine.streams import stdout_for_the_result

if TYPE_CHECKING:
    from rich.table import Table

    from icrl_leaderboards.runs.certificates import Certificate, CertificateVerdict
    from icrl_registry.protocols.model import Protocol


@takes_groups
def tasks(
    env: Annotated[
        str, typer.Argument(help="An environment, such as pusher-goal.", autocompletion=completion.environments)
    ],
    protocol: OwnProtocolOption = None,
    *,
    certificate: Annotated[
        bool,
        typer.Option(
            "--certificate",
            help="Measure whether they test learning in context: is the oracle good, and who ignores the task not?",
        ),
    ] = False,
    place: LeaderboardPlace,
    jobs: JobsOption = None,
    json_: JsonFlag = False,
) -> None:
    """List the training, validation and test tasks of an environment under a protocol, or certify them.

    A certificate needs the environment's histories: what is missing is collected, and kept for every row.
    """
    from icrl_registry.protocols.loading import protocol_for

    chosen = protocol_for(env, protocol)
    if certificate:
        _certify(env, chosen, place, jobs, json_)
    else:
        _list(env, chosen, json_)


def _list(env: str, protocol: Protocol, as_json: bool) -> None:
    from icrl_registry.configuration import build_config
    from icrl_registry.discovery import load
    from icrl_registry.protocols.splits import draw_tasks, hash_tasks

    plugin = load("environment", protocol.full_name(env))
    plan = protocol.plan_for(plugin.entry.name)
    component = plugin.component
    environment = component(build_config(component.Config, plan.settings.get("environment", {}), "environment"))
    splits = draw_tasks(environment, plan.split)
    names = list(environment.task_parameter_names)
    if as_json:
        document = {
            "env": plugin.entry.name,
            "protocol": protocol.id,
            "sha256": hash_tasks(splits),
            "parameter_names": names,
            "tasks": {split: [list(task.parameters) for task in members] for split, members in splits.items()},
        }
        typer.echo(json.dumps(document))
        return
    from icrl_leaderboards.terminal.listing import print_listing

    tasks = [task for members in splits.values() for task in members]
    rows = [[task.label, *(f"{value:.4f}" for value in task.parameters)] for task in tasks]
    print_listing(["task", *names], rows, right=names, title=f"{plugin.entry.name}, {protocol.id}")


def _certify(env: str, protocol: Protocol, place: LeaderboardPlace, jobs: int | None, as_json: bool) -> None:
    set_for_training()
    from icrl_bench.artefacts.store import Store
    from icrl_bench.machine.cores import usable_cores
    from icrl_bench.machine.progress import Progress
    from icrl_bench.runs.certificates import certificate_stage, certify, stages_of_certificate
    from icrl_bench.runs.execution import names_of
    from icrl_bench.stages.stage import Context

    with stdout_for_the_result():  # what a plugin prints is no part of the result
        stage = certificate_stage(env, protocol)
        with place.open() as board, Progress(names_of(stages_of_certificate(stage)), quiet=as_json) as progress:
            found = certify(stage, Context(Store(home_folder(place.home)), progress, jobs or usable_cores(), board))
    verdict = found.verdict(protocol.certificate)
    if as_json:
        summary = {"passed": verdict.passed, "missing": list(verdict.missing), **found.summary()}
        typer.echo(json.dumps({"certificate": found.model_dump(mode="json"), "summary": summary}, allow_nan=False))
        return
    from rich.console import Console

    console = Console()
    console.print(_table(found))
    for line in _words(found, verdict):
        console.print(line, markup=False, highlight=False)


def _table(certificate: Certificate) -> Table:
    """Mean returns of who knows the task, who doesn't, and who is mistaken."""
    from rich.table import Table

    table = Table("policy", "mean return", "score", title=f"{certificate.environment}, {certificate.protocol}")
    means = certificate.summary()["mean_return"]
    scale = means["oracle"] - means["random"]
    for name, value in sorted(means.items(), key=lambda item: item[1]):
        score = f"{(value - means['random']) / scale:.2f}" if scale > 0 else "–"
        table.add_row(name.replace("_", " "), f"{value:.4g}", score)
    return table


def _words(certificate: Certificate, verdict: CertificateVerdict) -> list[str]:
    from icrl_leaderboards.wording.certificates import certificate_entries

    lines = [f"{name:18} {value}" for name, value in certificate_entries(certificate) if name != "mean return"]
    if verdict.passed:
        return [*lines, "passes"]
    return [*lines, *(f"fails: {missing}" for missing in verdict.missing)]
