"""What one run leaves behind, written down once: `RunRecord`, which the harness fills and the leaderboard gives back equal.

The classes here are the only list of a run's fields. Validation, the published files and their JSON schema, the arrays of
`scores` and the JSON of `icrl-bench run` are all taken from it; the types (`types`) carry the checks and the axes. An optional
field is one line here and one column in `database.schema`, which says where each field lies.

Axes: K test tasks, E episodes per task, P parameters of a task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, field, fields
from typing import Annotated, Any, Self, TypeVar, get_type_hints

from pydantic import ConfigDict, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from icrl_leaderboards.runs.types import (
    Axes,
    Ceiling,
    Count,
    Curves,
    Facts,
    Floor,
    JsonObject,
    Moment,
    NamedNumbers,
    OptionalFloor,
    OptionalText,
    PerEpisode,
    PerEpisodeFractions,
    PerEpisodeLengths,
    PerStep,
    PerTaskReference,
    RecordError,
    RunId,
    TaskLabels,
    TaskParameters,
    Text,
    checked_by,
    text,
)

_FORM = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


_PluginText = Annotated[str, checked_by(lambda value, place: text(value, f"plugin {place}"))]


@dataclass(frozen=True, config=_FORM)
class PluginUse:
    """A plugin that took part in a run, by what it was then."""

    kind: _PluginText
    """environment, source, backbone or method."""
    name: _PluginText
    distribution: _PluginText
    version: _PluginText
    content_hash: _PluginText

    @property
    def digest(self) -> str:
        """What tells two states of one plugin apart."""
        return f"{self.kind}:{self.name}@{self.content_hash}"


@dataclass(frozen=True, kw_only=True, config=_FORM)
class RunHead:
    """Who a run is and what it cost: everything that needs no list of tasks."""

    run_id: RunId
    """Address of the run's plan: environment, source, method, settings, tasks and seed."""
    method: Text
    """As typed, such as ad-mamba."""
    backbone: OptionalText
    """Sequence model, or null for methods without one."""
    environment: Text
    """Versioned id, such as reacher-goal-v1."""
    protocol: Text
    """Versioned id; a + and six hex digits after it mark settings that differ from it."""
    track: Text
    """online or offline."""
    seed: Count
    """Seed of training and adaptation."""
    parameters: Count
    """Trainable parameters."""
    train_env_steps: Count
    """Environment steps that training used."""
    adapt_env_steps: Count
    """Environment steps of adaptation on the test tasks."""
    collect_env_steps: Count
    """Environment steps of the source on all tasks."""
    created_at: Moment
    """ISO 8601, UTC."""
    seconds: NamedNumbers
    """Wall-clock per stage."""
    variant: JsonObject = field(default_factory=dict)
    """Settings of the method that differ from the protocol's, by dotted key."""

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings in which the run differs from its protocol, as `--set` takes them."""
        return tuple(f"{name}={format_value(value)}" for name, value in sorted(self.variant.items()))

    @property
    def label(self) -> str:
        """The method and its settings in one line: `ad-mamba (method.context_length=200)`."""
        settings = self.settings
        return f"{self.method} ({', '.join(settings)})" if settings else self.method


def _plugins(uses: Any, place: str) -> list[PluginUse]:
    if not isinstance(uses, list | tuple):
        raise RecordError(f"{place} is {type(uses).__name__}", "expected a list")
    for index, use in enumerate(uses):
        if not isinstance(use, PluginUse):
            raise RecordError(f"{place}[{index}] is {type(use).__name__}", "expected a PluginUse")
    return list(uses)


@dataclass(frozen=True, kw_only=True, config=_FORM)
class RunRecord(RunHead):
    """One run: (method, environment, protocol, seed), its raw returns on the K test tasks, and how it came about.

    Raises:
        NumericalError: a NaN or infinity; the message names the place.
        RecordError: a value of the wrong type, shape or range; the message names the place.
    """

    returns: PerEpisode
    """Raw undiscounted return, one row per test task and one column per episode."""
    episode_lengths: PerEpisodeLengths
    """Environment steps, shaped as the returns."""
    task_parameters: TaskParameters
    """One row per test task."""
    task_labels: TaskLabels
    """One per test task."""
    random: Floor
    """Mean return of uniform actions per test task."""
    zero_action: Floor
    """Mean return of the zero action per test task."""
    oracle: Ceiling
    """The source trained on the test task: mean return of the last tenth of its episodes; null where there is none."""
    oracle_greedy: Ceiling
    """The same source's deterministic policy; null where it was not measured."""
    checkpoint: Text
    """Address of the trained method."""
    dataset: Text
    """Address of the learning histories."""
    config: JsonObject = field(default_factory=dict)
    """The fully resolved settings, by section."""
    plugins: Annotated[list[PluginUse], checked_by(_plugins)] = field(default_factory=list)
    """Every plugin that took part."""
    provenance: Facts = field(default_factory=dict)
    """Versions, source revision, hardware, kernel, the protocol's sha256."""
    diagnostics: NamedNumbers = field(default_factory=dict)
    """Numbers that the method kept with its run."""
    source_curves: Curves = field(default_factory=list)
    """The source's learning curve on each test task, mean return in equal parts of its training; empty if unknown."""
    success: PerEpisodeFractions = None
    """Whether each episode reached its goal, as a fraction from 0 to 1, shaped as the returns."""
    blind_ceiling: OptionalFloor = None
    """The most that a policy blind to the task can return, per test task."""
    protocol_content: OptionalText = None
    """The protocol's TOML, so that whoever verifies the run needs no file besides it."""
    step_rewards: PerStep = None
    """Reward at each step of the first episodes, one row an episode: mean over the test tasks, where 0 stands for a task whose
    episode is over, so that a row's sum is the mean return of its episode."""

    @model_validator(mode="after")
    def _agree_on_axes(self) -> Self:
        sizes: dict[str, int] = {}
        for name, axes in _AXES.items():
            values = getattr(self, name)
            if values is None or (axes.may_be_empty and not values):
                continue
            shape = (len(values),) if len(axes.names) == 1 else (len(values), len(values[0]))
            expected = tuple(sizes.setdefault(axis, size) for axis, size in zip(axes.names, shape, strict=True))
            if axes.names == ("K", "E") and shape != expected:
                problem = f"{name} has shape {shape}, returns {expected}"
                raise RecordError(problem, "give one number per return")
            if shape != expected:
                problem = f"{name} has {shape[0]} entries for {expected[0]} tasks"
                raise RecordError(problem, "give one per test task")
        return self

    def as_json(self) -> dict[str, Any]:
        """The record as plain JSON values, which are the record's own, not copies; `from_json` gives an equal record.

        An optional field that is not known has no entry.
        """
        known = {each.name: getattr(self, each.name) for each in fields(self)}
        known["plugins"] = [asdict(use) for use in self.plugins]
        return {name: value for name, value in known.items() if value is not None or name not in OPTIONAL}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RunRecord:
        """A record from the form of `as_json`.

        Raises:
            RecordError: a field is unknown or missing, or breaks the form.
            NumericalError: a number is not finite.
        """
        names = {each.name for each in fields(cls)}
        unknown, missing = sorted(set(document) - names), sorted(names - set(document) - OPTIONAL)
        if unknown or missing:
            problem = f"unknown field {unknown[0]!r}" if unknown else f"field {missing[0]!r} is missing"
            raise RecordError(f"not a run record: {problem}", "give exactly the fields of RunRecord")
        absent = sorted(name for name in OPTIONAL & set(document) if document[name] is None)
        if absent:
            raise RecordError(f"{absent[0]} is null", "leave out what is not known")
        try:
            return cls(**{**document, "plugins": [PluginUse(**use) for use in document["plugins"]]})
        except (TypeError, AttributeError, ValidationError) as error:
            said = "; ".join(each["msg"] for each in error.errors()) if isinstance(error, ValidationError) else error
            raise RecordError(f"not a run record: {said}", "compare the field types with RunRecord") from error


def format_value(value: Any) -> str:
    """A setting's value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


# --- What the fields say of themselves -----------------------------------------------------------------------------------

Marker = TypeVar("Marker")


def _marked(marker: type[Marker]) -> dict[str, Marker]:
    """The record's fields whose type carries such a marker, in their order."""
    hints = get_type_hints(RunRecord, include_extras=True)
    order = [each.name for each in fields(RunRecord)]
    found = {
        name: [each for each in getattr(hints[name], "__metadata__", ()) if isinstance(each, marker)] for name in order
    }
    return {name: markers[0] for name, markers in found.items() if markers}


_AXES = _marked(Axes)
#: What a task's returns are measured against, (K,) each: floors and ceilings, in the order of the record.
REFERENCES = tuple(_marked(PerTaskReference))
#: The fields of a run that need no list of tasks and stand in one row of the database.
HEAD_FIELDS = tuple(each.name for each in fields(RunHead))
#: Fields that a run need not have. Published files leave them out where they are not known.
OPTIONAL = frozenset(each.name for each in fields(RunRecord) if each.default is None)
