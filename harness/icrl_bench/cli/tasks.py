"""`icrl-bench tasks ENV`: the tasks of every split."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from icrl_bench.cli.options import JsonFlag, ProtocolOption


def tasks(
    env: Annotated[str, typer.Argument(help="An environment, such as pusher-goal.")],
    protocol: ProtocolOption = "laptop",
    json_: JsonFlag = False,
) -> None:
    """List the training, validation and test tasks of an environment under a protocol."""
    from icrl_registry.configuration import build_config
    from icrl_registry.discovery import load
    from icrl_registry.protocols.loading import load_protocol
    from icrl_registry.protocols.splits import draw_tasks, hash_tasks

    chosen = load_protocol(protocol)
    plugin = load("environment", env)
    plan = chosen.plan_for(plugin.entry.name)
    component = plugin.component
    environment = component(build_config(component.Config, plan.settings.get("environment", {}), "environment"))
    splits = draw_tasks(environment, plan.split)
    names = list(environment.task_parameter_names)
    if json_:
        document = {
            "env": plugin.entry.name,
            "protocol": chosen.id,
            "sha256": hash_tasks(splits),
            "parameter_names": names,
            "tasks": {split: [list(task.parameters) for task in members] for split, members in splits.items()},
        }
        typer.echo(json.dumps(document))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("task", *[escape(name) for name in names], title=f"{plugin.entry.name}, {chosen.id}")
    for members in splits.values():
        for task in members:
            table.add_row(task.label, *[f"{value:.4f}" for value in task.parameters])
        table.add_section()
    Console().print(table)
