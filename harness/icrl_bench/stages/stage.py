"""What a stage is: one piece of a plan that makes one artefact, knows where it lies and what it is made from.

A plan is a graph of stages: `Record` needs `Adapt`, `Floors` and `Collect`; `Adapt` needs `Train`, and so on. `in_order` puts
the graph in a line. Running a plan, printing it, its progress bar and making a row again all walk such a line, so a new stage
is one file here and a mention among the inputs of what needs it. An executor (`icrl_bench.executors`) walks the same graph by
`units`, the pieces of a stage that can be made in any process, and in any home that holds what they read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from icrl_bench.artefacts.store import Store, address_of
from icrl_bench.machine.progress import Progress
from icrl_bench.planning import Plan
from icrl_leaderboards.database.leaderboard import Leaderboard
from icrl_leaderboards.runs.record import RunRecord
from icrl_registry.hooks import HookManager

Product = TypeVar("Product")
ArtefactName = tuple[str, str]
"""The store's kind, and the name in it."""


@dataclass
class Context:
    """What stages work with: where artefacts and rows go, who is told, and how many processes may work."""

    store: Store
    progress: Progress
    num_workers: int = 1
    leaderboard: Leaderboard | None = None  # only recording needs one
    hooks: HookManager | None = None
    records: list[RunRecord] = field(default_factory=list)  # the rows that were made in it


class Stage(ABC, Generic[Product]):
    """One stage of a plan. Its address is a hash of all that determines what it makes, its inputs' addresses included.

    Stages of equal `key` make the same artefact, whichever plan they belong to. A stage can be pickled and sent elsewhere.
    """

    kind: ClassVar[str]  # first word of its name; the name of the stage in events and provenance
    version: ClassVar[int] = 1  # raised by hand when the harness's own share of the stage changes what it computes
    folder: ClassVar[str]  # the store's kind that holds its artefacts
    there: ClassVar[str]  # said where nothing is left to do
    is_shown: ClassVar[bool] = True  # in the progress bar and in the printed plan
    needs_leaderboard: ClassVar[bool] = False

    def __init__(self, plan: Plan, seed: int | None = None) -> None:
        self.plan, self.seed = plan, seed

    @property
    def name(self) -> str:
        """`collect`, or `train seed 0`: what the user reads."""
        return self.kind if self.seed is None else f"{self.kind} seed {self.seed}"

    @property
    def title(self) -> str:
        """`train ad-mamba on reacher-goal-v1, seed 0`: what it is called among the stages of many rows."""
        environment = self.plan.environment_id
        if self.seed is None:
            return f"{self.kind} {environment}"
        track = "@offline" if self.plan.request.track == "offline" else ""
        return f"{self.kind} {self.plan.request.method}{track} on {environment}, seed {self.seed}"

    @property
    def inputs(self) -> tuple[Stage[Any], ...]:
        """The stages that must be done before this one is made."""
        return ()

    @abstractmethod
    def determinants(self) -> Mapping[str, Any]:
        """All that changes what the stage makes, as JSON."""

    @cached_property
    def address(self) -> str:
        """Names the artefact: 16 hexadecimal digits."""
        return address_of({"stage": self.version, **self.determinants()})

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for stages that are the same work."""
        return self.folder, self.address

    @property
    def about(self) -> dict[str, Any]:
        """What the events of the stage say of the run that it belongs to."""
        request = self.plan.request
        return {
            "method": request.method,
            "env": self.plan.environment_id,
            "protocol": self.plan.protocol_label,
            "track": request.track,
            "seed": self.seed,
        }

    @property
    def stays_here(self) -> bool:
        """Whether the process that walks the plan makes it, as it takes what is nowhere else."""
        return self.needs_leaderboard

    @property
    def artefacts(self) -> tuple[ArtefactName, ...]:
        """Where in a store that lies which it makes."""
        return ((self.folder, self.address),)

    def prepare(self, store: Store) -> None:
        """What must hold whether the artefact is there or not, such as a description beside it; under the lock."""

    @abstractmethod
    def make(self, context: Context) -> None:
        """Makes and keeps the artefact, from the last saved progress on. The caller holds the lock and made the inputs."""

    @abstractmethod
    def read(self, store: Store) -> Product:
        """What was made.

        Raises:
            DamagedArtefactError: it is missing or damaged.
        """

    def done(self, store: Store) -> bool:
        """Whether the artefact is there."""
        return store.exists(self.folder, self.address)

    def ensure(self, context: Context) -> None:
        """Makes the artefact unless it is there; whoever else wants to make it waits."""
        context.progress.about = self.about
        with context.store.lock(self.folder, self.address, context.progress.message):
            self.prepare(context.store)
            if self.done(context.store):
                context.progress.skip(self.name, self.there)
            else:
                self.make(context)

    def units(self, store: Store) -> list[Unit]:
        """The pieces that are missing, each of which a process can make by itself, in any order: here the whole stage."""
        if self.done(store):
            return []
        return [
            Unit(
                name=self.title,
                key=self.key,
                function=_make_elsewhere,
                arguments=(self,),
                makes=self.artefacts,
                reads=tuple(artefact for needed in self.inputs for artefact in needed.artefacts),
                progress=f"{self.address}.safetensors",
                device=self.plan.request.device,
            )
        ]

    def stopwatch(self, store: Store) -> Callable[[float], None]:
        """Notes the time that its units take, where it is asked for: to be called now and then while they are made elsewhere,
        with the seconds between two notes, and with 0 at the end."""
        return lambda every: None

    def status(self, store: Store) -> str:
        """How far it is, for the printed plan."""
        return "done" if self.done(store) else "to do"


@dataclass(frozen=True)
class Unit:
    """A piece of work that can be pickled and made in any process, below any home that holds what it reads."""

    name: str
    key: tuple[str, ...]  # equal for the same work, whichever rows wait for it
    function: Callable[..., Any]  # of the home folder and the arguments
    arguments: tuple[Any, ...]
    makes: tuple[ArtefactName, ...] = ()
    reads: tuple[ArtefactName, ...] = ()
    progress: str = ""  # the file below `progress` in which it keeps how far it is; empty if it starts anew
    device: str = "cpu"

    def make(self, home: Path) -> Any:
        """Does the work, with what is in `home`; from the last progress kept there."""
        return self.function(home, *self.arguments)


def in_order(
    targets: Iterable[Stage[Any]], skip: Callable[[Stage[Any]], bool] = lambda stage: False
) -> list[Stage[Any]]:
    """The targets and all that they need, each after its inputs and once. The inputs of what `skip` holds for are left out."""
    ordered: dict[tuple[str, ...], Stage[Any]] = {}

    def visit(stage: Stage[Any]) -> None:
        if stage.key in ordered:
            return
        if not skip(stage):
            for needed in stage.inputs:
                visit(needed)
        ordered[stage.key] = stage

    for target in targets:
        visit(target)
    return list(ordered.values())


def _make_elsewhere(home: Path, stage: Stage[Any]) -> None:
    with Progress([stage.name], quiet=True) as progress:
        stage.ensure(Context(Store(home), progress))
