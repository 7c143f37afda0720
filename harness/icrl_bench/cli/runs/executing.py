"""Options of `run`, `sweep` and `grid` that say where the work is done, and who follows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icrl_bench.cli import completion
from icrl_bench.cli.groups import OptionGroup
from icrl_bench.machine.cores import usable_cores
from icrl_registry.errors import UsageError

if TYPE_CHECKING:
    from icrl_bench.artefacts.store import Store
    from icrl_bench.executors.contract import Executor
    from icrl_bench.runs.overview import Overview
    from icrl_bench.stages.stage import Context, Stage
    from icrl_registry.hooks import HookManager

EXECUTORS = ("local", "ray")


@dataclass(frozen=True)
class ExecutorOptions(OptionGroup):
    """Which executor makes the units of a plan, what each unit is given, and which trackers follow the runs."""

    executor: Annotated[
        str | None,
        typer.Option(
            "--executor",
            help="local: rows side by side in processes; ray: on a Ray cluster.  [default: one row after the other]",
        ),
    ] = None
    address: Annotated[
        str | None,
        typer.Option(
            "--address", help="Of the Ray cluster, such as auto.  [default: RAY_ADDRESS, or one started here]"
        ),
    ] = None
    cores: Annotated[
        int, typer.Option("--cores", min=1, help="Threads for each training and adaptation in an executor.")
    ] = 1
    shared_home: Annotated[
        bool, typer.Option("--shared-home", help="All nodes see the home folder under its path, as on NFS.")
    ] = False
    events: Annotated[
        Path | None,
        typer.Option(
            "--events", help="Write an executor's progress there as JSON lines; - for stderr.", dir_okay=False
        ),
    ] = None

    tracker: Annotated[
        list[str] | None,
        typer.Option(
            "--tracker",
            help="Where curves go as well: tensorboard, wandb, mlflow, or a plugin's.",
            autocompletion=completion.trackers,
        ),
    ] = None

    def check(self, leaderboard: object = None) -> None:
        """Refuses options that don't go together, before anything is done.

        Raises:
            UsageError: an unknown executor, an option that says nothing to it, or a password that Ray would show.
        """
        if self.executor is not None and self.executor not in EXECUTORS:
            raise UsageError(f"unknown executor '{self.executor}'", " or ".join(EXECUTORS))
        if self.executor != "ray" and (self.address is not None or self.shared_home):
            raise UsageError("--address and --shared-home are for a Ray cluster", "add --executor ray")
        if self.executor is None and (self.events is not None or self.cores != 1):
            raise UsageError("--events and --cores are for an executor", "add --executor local")
        if self.executor == "ray" and _has_password(leaderboard):
            raise UsageError(
                "Ray's dashboard shows the command with the password of --leaderboard",
                "leave it out of the URL and give it by PGPASSWORD or ~/.pgpass",
            )

    def hooks(self, store: Store) -> AbstractContextManager[HookManager]:
        """The hooks of all plugins and of the trackers that were asked for, which are closed at the end.

        Raises:
            UnknownNameError, PluginError: there is no such tracker, or it cannot be made here.
        """
        from icrl_bench.runs.tracking import following

        names = [name.strip() for each in self.tracker or () for name in each.split(",") if name.strip()]
        return following(names, store)

    def device(self, device: str) -> str:
        """The device in the words of a plan.

        Raises:
            UsageError: there is no such device, or one of several is named though each unit gets one of its own.
        """
        from icrl_bench.cli.options import choose_device

        if self.executor is None:
            return choose_device(device)
        if device.startswith("cuda:"):
            hint = "write --device cuda; CUDA_VISIBLE_DEVICES says which GPUs there are to give"
            raise UsageError(f"with --executor each unit gets a GPU of its own, not {device}", hint)
        if device == "cuda" and self.executor == "ray":
            return "cuda:0"  # whichever its node gives it; this machine may have none
        return choose_device(device)

    @contextmanager
    def open(
        self, context: Context, jobs: int | None, stages: Sequence[Stage[Any]]
    ) -> Iterator[tuple[Executor, Overview]]:
        """The executor for these stages, and where their progress is shown; nothing of it is left in the end."""
        from icrl_bench.runs.overview import Overview

        with (
            self._executor(context, jobs, stages) as executor,
            Overview(stages, context.progress, self.events) as overview,
        ):
            yield executor, overview

    def _executor(self, context: Context, jobs: int | None, stages: Sequence[Stage[Any]]) -> Executor:
        if self.executor == "ray":
            from icrl_bench.executors.code import code_of
            from icrl_bench.executors.ray import RayExecutor

            code = code_of({id(stage.plan): stage.plan for stage in stages}.values())
            return RayExecutor(context.store.root, code, self.address, jobs, self.cores, self.shared_home)
        from icrl_bench.executors.local import LocalExecutor, visible_gpus

        on_gpus = any(stage.plan.request.device.startswith("cuda") for stage in stages)
        return LocalExecutor(
            context.store.root,
            jobs or max(1, usable_cores() // self.cores),
            self.cores,
            visible_gpus() if on_gpus else (),
        )


def _has_password(leaderboard: object) -> bool:
    if not isinstance(leaderboard, str) or "://" not in leaderboard:
        return False
    from icrl_leaderboards.database.connections import has_password, parse_location

    return has_password(parse_location(leaderboard))
