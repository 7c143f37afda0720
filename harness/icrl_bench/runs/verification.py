"""Holding a recorded run to what it claims: its tasks to the protocol's split, its settings and id to its plan.

The plan is made again from the names in the record, so a check needs the plugins that took part; where one is missing, or
its code is another by now, the check says so and is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from icrl_bench.artefacts.store import Store
from icrl_bench.planning import PROTOCOL_SECTIONS, Plan, Request, make_plan
from icrl_bench.stages.adapt import has_adaptation, read_adaptation
from icrl_bench.stages.record import Record, stage_versions, versions_in_the_id
from icrl_leaderboards.runs.record import RunRecord
from icrl_registry.configuration import merge
from icrl_registry.contracts import Track
from icrl_registry.discovery import load
from icrl_registry.errors import BenchError, DamagedArtefactError, UsageError
from icrl_registry.protocols.loading import load_protocol, parse_protocol
from icrl_registry.protocols.model import Protocol

#: What records say that were made before they said it.
_FIRST_STAGES = dict.fromkeys(("collect", "floors", "train", "adapt"), 1)
OK, MISMATCH, SKIPPED = "ok", "mismatch", "skipped"


@dataclass(frozen=True)
class VerifiedPart:
    """One thing that was compared."""

    name: str
    status: str  # OK, MISMATCH or SKIPPED
    detail: str = ""


class Verifier:
    """Checks records against their plans; runs that differ in their seed share one plan."""

    def __init__(self, protocol: str | None = None) -> None:
        """`protocol` is a file or id to use in the place of the one that the records name."""
        self.protocol = protocol
        self._plans: dict[str, Plan | VerifiedPart] = {}

    def plan(self, record: RunRecord) -> Plan | VerifiedPart:
        """The plan that the record claims to follow, or why there is none."""
        about = [record.method, record.environment, record.protocol, record.track, record.variant, record.config]
        key = json.dumps([about, [vars(use) for use in record.plugins], _device(record)], sort_keys=True)
        if key not in self._plans:
            self._plans[key] = _plan_or_reason(record, self.protocol)
        return self._plans[key]

    def checks(self, record: RunRecord) -> list[VerifiedPart]:
        """Splits, episodes, settings and run id."""
        plan = self.plan(record)
        if isinstance(plan, VerifiedPart):
            return [plan]
        return [_check_splits(record, plan), _check_episodes(record, plan), *_check_settings(record, plan)]


def check_artefact(store: Store, record: RunRecord) -> VerifiedPart:
    """The recorded returns beside those of the adaptation that is kept in the store."""
    if not has_adaptation(store, record.run_id):
        return VerifiedPart("artefact", SKIPPED, f"no adaptation {record.run_id} in {store.root}")
    try:
        adaptation = read_adaptation(store, record.run_id)
    except DamagedArtefactError as error:
        return VerifiedPart("artefact", MISMATCH, error.message)
    if adaptation.returns != record.returns or adaptation.lengths != record.episode_lengths:
        return VerifiedPart("artefact", MISMATCH, "the episodes differ from those of the kept adaptation")
    return VerifiedPart("artefact", OK, "the episodes are those of the kept adaptation")


# --- The plan behind a record ------------------------------------------------------------------------------------------


def _plan_or_reason(record: RunRecord, protocol_name: str | None) -> Plan | VerifiedPart:
    try:
        protocol = _protocol_of(record, protocol_name)
        for use in record.plugins:
            load(use.kind, use.name)
    except BenchError as error:
        return VerifiedPart("plan", SKIPPED, error.message)
    try:
        return _make_plan(record, protocol)
    except BenchError as error:
        return VerifiedPart("plan", MISMATCH, error.message)


def _protocol_of(record: RunRecord, name: str | None) -> Protocol:
    """The protocol that was asked for; else the one that the run carries, or that comes with the package by its id."""
    named = record.protocol.partition("+")[0]
    if name is None and record.protocol_content is not None:
        protocol = parse_protocol(record.protocol_content, f"the protocol of run {record.run_id}")
        if protocol.id != named:
            raise UsageError(f"the run carries the protocol {protocol.id}, its row says {named}", "ask who made it")
        return protocol
    return load_protocol(name or named)


def _make_plan(record: RunRecord, protocol: Protocol) -> Plan:
    """The plan of the record's names and variant; where the row is marked, with the protocol's settings that it changed."""
    overrides = _sections(record.variant)
    source = next((use.name for use in record.plugins if use.kind == "source"), None)
    if source is not None and source != protocol.plan_for(record.environment).source:
        overrides = merge(overrides, {"source": {"name": source}})
    track = cast(Track, record.track)
    plan = make_plan(Request(record.method, record.environment, protocol, overrides, _device(record), track))
    changed = _changed_settings(record, plan)
    if "+" not in record.protocol or not changed:
        return plan
    overrides = merge(overrides, changed)
    return make_plan(Request(record.method, record.environment, protocol, overrides, _device(record), track))


def _sections(variant: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {}
    for dotted, value in variant.items():
        section, dot, key = dotted.partition(".")
        if not dot:
            raise UsageError(f"the variant has the setting {dotted!r}", "expected SECTION.KEY")
        sections.setdefault(section, {})[key] = value
    return sections


def _changed_settings(record: RunRecord, plan: Plan) -> dict[str, dict[str, Any]]:
    """Settings of the sections that all methods share in which the record differs from the plan."""
    changed: dict[str, dict[str, Any]] = {}
    for section in PROTOCOL_SECTIONS:
        planned, recorded = plan.config.get(section, {}), record.config.get(section, {})
        if isinstance(recorded, dict):
            differing = {key: value for key, value in recorded.items() if planned.get(key) != value}
            if differing:
                changed[section] = {key: "none" if value is None else value for key, value in differing.items()}
    return changed


def _device(record: RunRecord) -> str:
    hardware = record.provenance.get("hardware")
    device = hardware.get("device") if isinstance(hardware, dict) else None
    return str(device) if device else "cpu"


# --- What is compared with it ------------------------------------------------------------------------------------------


def _check_splits(record: RunRecord, plan: Plan) -> VerifiedPart:
    tasks = plan.tasks["test"]
    if record.task_labels != [task.label for task in tasks]:
        return VerifiedPart("splits", MISMATCH, f"the labels are not those of the {len(tasks)} test tasks")
    for task, parameters in zip(tasks, record.task_parameters, strict=True):
        if list(task.parameters) != parameters:
            return VerifiedPart(
                "splits", MISMATCH, f"{task.label} has the parameters {parameters}, not {list(task.parameters)}"
            )
    return VerifiedPart("splits", OK, f"the {len(tasks)} test tasks of {plan.request.protocol.id}")


def _check_episodes(record: RunRecord, plan: Plan) -> VerifiedPart:
    """The budget: so many episodes in each task, none longer than the horizon, and all their steps on the meter.

    Where the row is the source's own runs, it has as many episodes as they have, and the meter counts unfinished ones too.
    """
    episodes, horizon = len(record.returns[0]), plan.make_environment().spec.horizon
    if episodes != plan.adapt.episodes and not plan.replays_source:
        return VerifiedPart("episodes", MISMATCH, f"{episodes} episodes in each task, not {plan.adapt.episodes}")
    longest, steps = max(map(max, record.episode_lengths)), sum(map(sum, record.episode_lengths))
    if longest > horizon:
        return VerifiedPart("episodes", MISMATCH, f"an episode of {longest} steps, beyond the horizon of {horizon}")
    if steps != record.adapt_env_steps and not (plan.replays_source and steps < record.adapt_env_steps):
        return VerifiedPart(
            "episodes", MISMATCH, f"episodes of {steps} steps, but {record.adapt_env_steps} on the meter"
        )
    return VerifiedPart("episodes", OK, f"{episodes} in each task, {steps:,} environment steps")


def _check_settings(record: RunRecord, plan: Plan) -> list[VerifiedPart]:
    for section, planned in plan.config.items():
        recorded = record.config.get(section)
        if recorded != planned:
            keys = sorted(
                key
                for key in {*planned, *(recorded if isinstance(recorded, dict) else {})}
                if not isinstance(recorded, dict) or recorded.get(key) != planned.get(key)
            )
            named = ", ".join(f"{section}.{key}" for key in keys[:3]) or section
            changed = _changed_plugins(record, plan)
            if changed:  # a setting that came or went with the plugin's code says nothing
                return [VerifiedPart("settings", SKIPPED, f"{named}: {changed}")]
            return [VerifiedPart("settings", MISMATCH, f"{named}: not what {record.protocol} and the variant give")]
    settings = VerifiedPart("settings", OK, f"those of {plan.request.protocol.id} and the variant")
    return [settings, _check_address(record, plan)]


def _check_address(record: RunRecord, plan: Plan) -> VerifiedPart:
    changed = _changed_plugins(record, plan)
    if changed:
        return VerifiedPart("run id", SKIPPED, changed)
    planned = Record(plan, record.seed)
    if planned.run_id != record.run_id and _stages_changed(record, planned):
        return VerifiedPart("run id", SKIPPED, "the stages have changed since")
    if plan.protocol_label != record.protocol:
        words = f"settings give the label {plan.protocol_label}, the row says {record.protocol}"
        return VerifiedPart("run id", MISMATCH, words)
    if planned.run_id != record.run_id:
        return VerifiedPart("run id", MISMATCH, f"the plan's id is {planned.run_id}")
    return VerifiedPart("run id", OK, "the address of its plan")


def _stages_changed(record: RunRecord, planned: Record) -> bool:
    """Whether the row's id was made from other stages, or other versions of them, than an id is made from here."""
    made_with = record.provenance.get("stage_versions", _FIRST_STAGES)
    in_the_id = versions_in_the_id(planned)
    onlookers = stage_versions(planned).keys() - in_the_id.keys()
    return {kind: version for kind, version in made_with.items() if kind not in onlookers} != in_the_id


def _changed_plugins(record: RunRecord, plan: Plan) -> str:
    """Which plugins' code differs from what the record used, in words; empty if none does."""
    used = {(use.kind, use.name): use.content_hash for use in record.plugins}
    names = [
        f"{plugin.entry.kind} {plugin.entry.name}"
        for plugin in plan.plugins
        if used.get((plugin.entry.kind, plugin.entry.name)) != plugin.content_hash
    ]
    if not names:
        return ""
    listed = ", ".join(names[:-1]) + (" and " if names[1:] else "") + names[-1]
    return f"other code here of {listed}"
