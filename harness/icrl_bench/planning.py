"""From names to a plan: which plugins with which settings on which tasks.

The stages address what they make by a hash of everything in the plan that determines it: the plugins' code, their full
configuration, the tasks and the seeds. A changed plugin, protocol or setting therefore gets a new address and never mixes with
older artefacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from icrl_bench.artefacts.store import address_of
from icrl_registry.configuration import ComponentConfig, build_config, merge
from icrl_registry.contracts import Backbone, Environment, Method, Source, Split, Task, Track
from icrl_registry.discovery import Plugin, list_plugins, load, resolve_method
from icrl_registry.errors import PluginError, UsageError
from icrl_registry.protocols.loading import list_protocols
from icrl_registry.protocols.model import AdaptConfig, CollectConfig, Protocol, TrainConfig
from icrl_registry.protocols.splits import draw_tasks, spread_evenly

#: Settings in these sections change what all methods are measured on, so the row leaves the protocol's ranking.
PROTOCOL_SECTIONS = ("environment", "source", "collect", "train", "adapt")

#: Settings of the protocol's source that hold for any other one that is put in its place: environment steps a task.
BUDGET = ("total_steps",)

#: What the control of a row changes: its agents are shown another task's rewards. Training doesn't depend on it.
CONTROL: dict[str, dict[str, Any]] = {"adapt": {"rewards": "shuffled"}}

NestedSettings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    method: str
    environment: str
    protocol: Protocol
    overrides: NestedSettings
    device: str = "cpu"
    track: Track = "online"


@dataclass(frozen=True)
class Component:
    """A loaded plugin with its resolved configuration."""

    plugin: Plugin
    config: ComponentConfig

    @property
    def determinants(self) -> dict[str, Any]:
        return {
            "name": self.plugin.entry.name,
            "content": self.plugin.content_hash,
            "config": self.config.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class Plan:
    """One method on one environment under one protocol; `seed` enters where an address needs it."""

    request: Request
    environment: Component
    source: Component
    method: Component
    backbone: Component | None
    collect: CollectConfig
    train: TrainConfig
    adapt: AdaptConfig
    tasks: dict[Split, tuple[Task, ...]]

    def make_environment(self) -> Environment:
        return cast(Environment, self.environment.plugin.component(self.environment.config))

    def make_source(self) -> Source:
        return cast(Source, self.source.plugin.component(self.source.config))

    def make_method(self) -> Method:
        if self.backbone is None:
            return cast(Method, self.method.plugin.component(self.method.config))
        backbone = self.backbone

        def build(context_length: int) -> Backbone:
            return cast(Backbone, backbone.plugin.component(backbone.config, context_length=context_length))

        return cast(Method, self.method.plugin.component(self.method.config, build))

    @property
    def source_note(self) -> str:
        """In words, what of the protocol's settings holds for a source that is not the protocol's; empty if it is."""
        plan, name = self.request.protocol.plan_for(self.environment_id), self.source.plugin.entry.name
        if name == plan.source:
            return ""
        own = plan.settings.get("source", {})
        kept = _kept_settings(own, self.source.plugin)
        dropped = sorted(set(own) - set(kept))
        words = ", ".join(f"{key} = {value}" for key, value in kept.items()) or "nothing"
        rest = f", drops {', '.join(dropped)}" if dropped else ""
        return f"{name} instead of {plan.source}: keeps {words} of the protocol's settings{rest}"

    @property
    def replays_source(self) -> bool:
        """Whether the row is the source's recorded runs on the test tasks: then no run seed enters it."""
        return bool(self.method.plugin.component.adaptation == "source")

    @property
    def default_seeds(self) -> list[int]:
        """The protocol's seeds; one where the row is the source's own runs, since every seed gives the same one."""
        seeds = list(self.request.protocol.seeds)
        return seeds[:1] if self.replays_source else seeds

    @property
    def trains_on_histories(self) -> bool:
        """Whether the method meta-trains on the training tasks' histories."""
        return bool(self.method.plugin.component.training_data == "histories")

    @property
    def meta_training_tasks(self) -> tuple[Task, ...]:
        """The training tasks that the method is given: all, or `train.tasks` of them."""
        return spread_evenly(self.tasks["train"], self.train.tasks)

    @property
    def needed_splits(self) -> tuple[Split, ...]:
        """The splits whose histories a row takes: the test tasks' for the oracle, and what the method trains on."""
        return ("train", "test") if self.trains_on_histories else ("test",)

    @property
    def environment_id(self) -> str:
        return self.environment.plugin.entry.name

    @property
    def protocol_label(self) -> str:
        """The protocol's id, with a mark if settings that all methods share were changed: such rows rank by themselves.

        A protocol that doesn't come with the package always has a mark: of what it says of this environment for all methods,
        and of nothing else, so that an edit to one method's table renames no row. Of two rows of one seed the newest counts.
        """
        protocol = self.request.protocol
        changed: dict[str, Any] = {
            name: self._addressed(name, table)
            for name, table in self.request.overrides.items()
            if name in PROTOCOL_SECTIONS and table
        }
        if protocol.id not in list_protocols():
            shared = protocol.plan_for(self.environment_id).model_dump(mode="json", exclude={"method", "backbone"})
            shared["settings"] = {name: table for name, table in shared["settings"].items() if table}
            changed["protocol"] = {"data_seed": protocol.data_seed, "plan": shared}
        return _marked(protocol.id, changed)

    def _addressed(self, section: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """A section's settings without those that say where something lies; what they stand for is in their place."""
        config = {"environment": self.environment.config, "source": self.source.config}.get(section)
        places = [name for name, field in type(config).model_fields.items() if field.exclude] if config else []
        if config is None or not set(places) & set(table):
            return dict(table)
        return {**{key: table[key] for key in table if key not in places}, **config.model_dump(mode="json")}

    @property
    def variant(self) -> dict[str, Any]:
        """Settings of the method and its backbone that differ from the protocol's, by dotted key."""
        backbone = self.backbone.plugin.entry.name if self.backbone else None
        names = (self.environment_id, self.method.plugin.entry.name, backbone)
        settings = self.request.protocol.settings_for(*names)
        found: dict[str, Any] = {}
        for section, part in (("method", self.method), ("backbone", self.backbone)):
            overrides = self.request.overrides.get(section, {})
            if part is None or not overrides:
                continue
            plain = build_config(part.plugin.component.Config, settings.get(section, {}), section)
            before, after = plain.model_dump(mode="json"), part.config.model_dump(mode="json")
            found |= {f"{section}.{key}": overrides[key] for key in sorted(overrides) if before[key] != after[key]}
        return found

    @property
    def config(self) -> dict[str, Any]:
        """The fully resolved configuration, by section; `train` where it says anything, as rows without it did before."""
        sections: dict[str, Any] = {
            "environment": self.environment.config,
            "source": self.source.config,
            "method": self.method.config,
            "backbone": self.backbone.config if self.backbone else None,
            "collect": self.collect,
            **({"train": self.train} if self.train.tasks is not None else {}),
            "adapt": self.adapt,
        }
        return {name: value.model_dump(mode="json") if value is not None else {} for name, value in sections.items()}

    @property
    def plugins(self) -> list[Plugin]:
        parts = (self.environment, self.source, self.method, self.backbone)
        return [part.plugin for part in parts if part is not None]


def make_plan(request: Request) -> Plan:
    """Resolves every name, builds every configuration and draws the tasks.

    Raises:
        UsageError, UnknownNameError: a name, key or value that does not exist. PluginError: a broken plugin.
    """
    method_entry, backbone_entry = resolve_method(request.method)
    protocol = request.protocol
    environment = load("environment", protocol.full_name(request.environment))
    environment_id = environment.entry.name
    environment_plan = protocol.plan_for(environment_id)
    base = protocol.settings_for(environment_id, method_entry.name, backbone_entry.name if backbone_entry else None)
    source_name = str(request.overrides.get("source", {}).get("name", environment_plan.source))
    if source_name != environment_plan.source:
        base["source"] = _kept_settings(base.get("source", {}), load("source", source_name))
    settings = merge(base, request.overrides)
    if settings.get("backbone") and backbone_entry is None:
        raise UsageError(
            f"{request.method} has no backbone to set", "drop the backbone.* settings, or name one: METHOD-BACKBONE"
        )

    source_settings = {key: value for key, value in settings.get("source", {}).items() if key != "name"}
    component = partial(_component, settings=settings)
    environment_part = component("environment", environment)
    tasks = draw_tasks(environment.component(environment_part.config), environment_plan.split)
    collect = build_config(CollectConfig, settings.get("collect", {}), "collect")
    method = component("method", load("method", method_entry.name))
    _check_track(request.track, method.plugin)
    source = load("source", source_name)
    _check_actions(environment_part, method.plugin, source)
    train = build_config(TrainConfig, settings.get("train", {}), "train")
    adapt = build_config(AdaptConfig, settings.get("adapt", {}), "adapt")
    _check_interventions(adapt, method, len(tasks["test"]))
    return Plan(
        request=request,
        environment=environment_part,
        source=Component(source, build_config(source.component.Config, source_settings, "source")),
        method=method,
        backbone=component("backbone", load("backbone", backbone_entry.name)) if backbone_entry else None,
        collect=collect,
        train=train,
        adapt=adapt,
        tasks={**tasks, "train": spread_evenly(tasks["train"], collect.train_tasks)},
    )


def _kept_settings(settings: Mapping[str, Any], source: Plugin) -> dict[str, Any]:
    """What another source takes over of the settings of the protocol's own: the budget alone, where it has one."""
    return {key: settings[key] for key in BUDGET if key in settings and key in source.component.Config.model_fields}


def control_label(protocol_id: str) -> str:
    """The protocol label of the rows of `grid --controls`, for a protocol that comes with the package or a plugin."""
    return _marked(protocol_id, CONTROL)


def _marked(protocol_id: str, changed: Mapping[str, Any]) -> str:
    return protocol_id + (f"+{address_of(changed)[:6]}" if changed else "")


def _component(section: str, plugin: Plugin, settings: NestedSettings) -> Component:
    return Component(plugin, build_config(plugin.component.Config, settings.get(section, {}), section))


def _check_actions(environment: Component, method: Plugin, source: Plugin) -> None:
    """That method and source learn the environment's kind of actions; a method that replays its source learns none."""
    kind = environment.plugin.component(environment.config).spec.actions
    learners = [source] if method.component.adaptation == "source" else [method, source]
    for learner in learners:
        if kind not in learner.component.action_kinds:
            able = [name for name, component in _loadable(learner.entry.kind) if kind in component.action_kinds]
            raise UsageError(
                f"{environment.plugin.entry.name} has {kind} actions, which the {learner.entry.kind} "
                f"{learner.entry.name} doesn't learn",
                f"{learner.entry.kind}s that do: {', '.join(able) or 'none is installed'}",
            )


def _loadable(kind: str) -> list[tuple[str, Any]]:
    """Names and classes of the installed plugins of a kind, without those that are broken."""
    found = []
    for entry in list_plugins(kind):
        with suppress(PluginError):
            found.append((entry.name, load(kind, entry.name).component))
    return found


def _check_interventions(adapt: AdaptConfig, method: Component, num_tasks: int) -> None:
    """Refuses what cannot be shown to the method, or takes more tasks or episodes than there are."""
    name, changed = (
        method.plugin.entry.name,
        [key for key, is_on in (("rewards", adapt.rewards != "true"), ("switch_task", adapt.switch_task)) if is_on],
    )
    if changed and method.plugin.component.adaptation == "source":
        raise UsageError(
            f"{name} replays recorded runs: what it saw stays",
            f"drop adapt.{changed[0]}, or choose a method that acts",
        )
    if adapt.rewards == "shuffled" and num_tasks < 2:
        raise UsageError("adapt.rewards = 'shuffled' needs two test tasks", "use adapt.rewards=zero")
    if adapt.switch_task and (num_tasks < 2 or adapt.episodes < 2):
        raise UsageError(
            f"adapt.switch_task with {num_tasks} test tasks and {adapt.episodes} episodes",
            "it takes two tasks and two episodes at least",
        )


def _check_track(track: Track, method: Plugin) -> None:
    tracks = method.component.tracks
    if track not in tracks:
        raise UsageError(f"{method.entry.name} has no {track} track", f"its tracks: {', '.join(tracks)}")
