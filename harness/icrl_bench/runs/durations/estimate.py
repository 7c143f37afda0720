"""From a plan's stages to seconds: what is left of each, times the speed that is known best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from icrl_bench.artefacts.checkpoints import KeptProgress
from icrl_bench.artefacts.store import Store
from icrl_bench.runs.durations.calibration import rounds_per_second, steps_per_second
from icrl_bench.runs.durations.own import SECTIONS, own_speeds, updates_of
from icrl_bench.runs.durations.speeds import Nearness, Speed, Subject, costly_settings, seconds_per_unit
from icrl_bench.runs.durations.table import SpeedTable, shipped_table
from icrl_bench.stages.adapt import Adapt
from icrl_bench.stages.certify import Certify
from icrl_bench.stages.collect import Collect
from icrl_bench.stages.floors import FLOORS, Floors
from icrl_bench.stages.stage import Stage
from icrl_bench.stages.train import Train

OWN = "earlier stages in this home"
MEASURED = "a second of random actions in the environment"
TABLE = "published stages, scaled to this machine by a second of arithmetic"
NOTES = {
    Nearness.SAME: "",
    Nearness.ELSEWHERE: ", on other environments",
    Nearness.BACKBONE: ", of other methods with the backbone",
}


@dataclass(frozen=True)
class Duration:
    """How long a stage will take: seconds, None where nothing is known of it; and what that rests on."""

    kind: str
    seconds: float | None
    basis: str = ""  # empty where nothing is left to do, and where nothing is known

    def as_json(self) -> dict[str, Any]:
        """As `--dry-run --json` has it of one stage."""
        return {"seconds": None if self.seconds is None else round(self.seconds, 1), "basis": self.basis or None}


@dataclass(frozen=True)
class Total:
    """How long several stages will take, one after the other."""

    durations: tuple[Duration, ...]

    @property
    def seconds(self) -> float:
        """The sum of what is known."""
        return sum(each.seconds or 0.0 for each in self.durations)

    @property
    def is_complete(self) -> bool:
        """Whether something is known of every stage."""
        return all(each.seconds is not None for each in self.durations)

    @property
    def by_kind(self) -> dict[str, float]:
        """Seconds by kind of stage, in their order; kinds of which nothing is left are not in it."""
        kinds = dict.fromkeys(each.kind for each in self.durations if each.seconds)
        return {kind: sum(each.seconds or 0.0 for each in self.durations if each.kind == kind) for kind in kinds}

    @property
    def bases(self) -> list[str]:
        """What it rests on, each once."""
        return list(dict.fromkeys(each.basis for each in self.durations if each.basis))

    @property
    def unknown(self) -> list[str]:
        """Kinds of stages of which some duration is not known."""
        return list(dict.fromkeys(each.kind for each in self.durations if each.seconds is None))

    def as_json(self) -> dict[str, Any]:
        """As `--dry-run --json` has it."""
        return {
            "seconds": round(self.seconds, 1),
            "complete": self.is_complete,
            "by_kind": {kind: round(seconds, 1) for kind, seconds in self.by_kind.items()},
            "unknown": self.unknown,
            "basis": self.bases,
        }


@dataclass
class Speeds:
    """Everything that is known of speeds here. What takes time to find out is found out when it is first asked for."""

    store: Store
    jobs: int  # processes that collect side by side
    table: SpeedTable = field(default_factory=shipped_table)
    measured: dict[str, float | None] = field(default_factory=dict)  # environment → steps a second

    @cached_property
    def own(self) -> Sequence[Speed]:
        """Of the home's earlier stages."""
        return own_speeds(self.store)

    @cached_property
    def scale(self) -> float:
        """How much longer this machine takes than the table's."""
        return self.table.rounds_per_second / rounds_per_second()

    def seconds_a_unit(self, of: Subject, groups: int = 0) -> tuple[float | None, str]:
        """Seconds a unit, and what they rest on. `groups` are the pieces that a stage falls into, 0 for one that doesn't."""
        side_by_side = self.table.cores / min(self.jobs, groups) if groups else 1.0
        for nearness, note in NOTES.items():
            if (found := seconds_per_unit(self.own, of, nearness)) is not None:
                return found, OWN + note
            if (found := seconds_per_unit(self.table.speeds, of, nearness)) is not None:
                return found * self.scale * side_by_side, TABLE + note
        return None, ""

    def seconds_a_step(self, stage: Stage[Any]) -> float | None:
        """Seconds an environment step with random actions, measured now; None if the environment doesn't run."""
        name = stage.plan.environment_id
        if name not in self.measured:
            self.measured[name] = None
            with suppress(Exception):  # whatever a plugin runs into, the stage that needs it says so
                task = stage.plan.tasks["test"][0]
                self.measured[name] = 1 / steps_per_second(stage.plan.make_environment(), task)
        return self.measured[name]


def total_of(stages: Iterable[Stage[Any]], speeds: Speeds) -> Total:
    """How long the stages will take; those that are only shown in passing take no time."""
    return Total(tuple(duration_of(stage, speeds) for stage in stages if stage.is_shown))


def duration_of(stage: Stage[Any], speeds: Speeds) -> Duration:
    """How long what is left of a stage will take."""
    if stage.done(speeds.store):
        return Duration(stage.kind, 0.0)
    if isinstance(stage, Certify):
        return _of_certificate(stage, speeds)
    if isinstance(stage, Floors):
        step = speeds.seconds_a_step(stage)
        episodes = len(stage.plan.tasks["test"]) * len(FLOORS) * stage.plan.collect.floor_episodes
        return _product(stage.kind, episodes * _horizon(stage), step, MEASURED)
    if isinstance(stage, Collect):
        missing = stage.missing(speeds.store)
        steps = sum(map(len, missing)) * stage.plan.make_source().total_steps()
        seconds, basis = speeds.seconds_a_unit(_collecting(stage), len(missing))
        return _product(stage.kind, max(0, steps - stage.kept_steps(speeds.store, missing)), seconds, basis)
    if stage.plan.replays_source:
        return Duration(stage.kind, 0.0)
    seconds, basis = speeds.seconds_a_unit(_method_at_work(stage))
    if isinstance(stage, Train):
        kept = KeptProgress(speeds.store, stage.address).kept_updates()
        return _product(stage.kind, max(0, updates_of(stage.plan.config) - kept), seconds, basis)
    if isinstance(stage, Adapt):
        steps = len(stage.plan.tasks["test"]) * stage.plan.adapt.episodes * _horizon(stage)
        return _product(stage.kind, steps, seconds, basis)
    return Duration(stage.kind, None)


def _of_certificate(stage: Certify, speeds: Speeds) -> Duration:
    """The learners on the mixture of tasks train in one process; policies are played for little more than the steps."""
    demanded, tasks = stage.plan.request.protocol.certificate, len(stage.plan.tasks["test"])
    learning, basis = speeds.seconds_a_unit(_collecting(stage), 1)
    step = speeds.seconds_a_step(stage)
    if learning is None or step is None:
        return Duration(stage.kind, None)
    trained = demanded.mixture_learners * stage.plan.make_source().total_steps()
    played = _horizon(stage) * demanded.episodes * tasks * (tasks + 1 + demanded.mixture_learners)
    return Duration(stage.kind, trained * learning + played * step, basis)


def _product(kind: str, units: int, seconds: float | None, basis: str) -> Duration:
    return Duration(kind, None if seconds is None else units * seconds, basis if seconds is not None else "")


def _collecting(stage: Stage[Any]) -> Subject:
    plan = stage.plan
    settings = costly_settings(plan.config, ["source"])
    return Subject("collect", plan.source.plugin.entry.name, plan.environment_id, settings=settings)


def _method_at_work(stage: Stage[Any]) -> Subject:
    plan, request = stage.plan, stage.plan.request
    settings = costly_settings(plan.config, SECTIONS)
    return Subject(stage.kind, request.method, plan.environment_id, request.device, settings)


def _horizon(stage: Stage[Any]) -> int:
    return int(stage.plan.make_environment().spec.horizon)
