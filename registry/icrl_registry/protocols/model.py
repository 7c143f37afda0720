"""What a protocol says, typed and frozen: everything that must be equal for two rows to be comparable.

Its id carries a version (`laptop-v1`); whatever changes a number makes a new version. Settings for a component are layered:
`[method.ad]` for every environment, then `[method.ad-mamba]` for that pairing, then the same two below `[environments.ID]`;
backbones likewise.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Split
from icrl_registry.errors import UsageError


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Rows = tuple[tuple[float, ...], ...]
"""Tasks that a protocol lists, each by its parameters."""


class SplitPlan(_Frozen):
    """The tasks of one environment: how many are drawn, or which they are, and the hash that they must have."""

    seed: int = Field(0, description="seed of the draw")
    train: Annotated[int, Field(ge=1)] | Rows | Literal["all"] = Field(
        description="training tasks: how many are drawn, or a list of them, or all of a finite family"
    )
    validation: Annotated[int, Field(ge=1)] | Rows | Literal["all", "train"] = Field(
        5, description="validation tasks: as above, or those of train"
    )
    test: Annotated[int, Field(ge=1)] | Rows | Literal["all", "train"] = Field(
        10, description="test tasks, never seen before adaptation unless they are those of train"
    )
    minimum_distance: float = Field(
        0.0, ge=0, description="least distance of a drawn task from any other, in the environment's unit"
    )
    sha256: str | None = Field(None, description="hash of the tasks; checked at every load if given")

    @model_validator(mode="after")
    def _lists_hold_tasks(self) -> Self:
        if () in (self.train, self.validation, self.test):
            raise ValueError("a list of tasks is empty; write each task's parameters, such as [[1.0], [-1.0]]")
        return self

    def asked_for(self, split: Split) -> int | Rows | str:
        """What the plan says of one split."""
        asked: int | Rows | str = getattr(self, split)
        return asked


class CollectConfig(ComponentConfig):
    """Stage settings of data collection and of the floors."""

    train_tasks: int | None = Field(
        None, ge=1, description="collect only this many training tasks, spread evenly, as a data set apart; None = all"
    )
    floor_episodes: int = Field(
        100, ge=1, description="episodes per test task behind the random and zero-action floors"
    )


class TrainConfig(ComponentConfig):
    """Stage settings of meta-training."""

    tasks: int | None = Field(
        None, ge=1, description="meta-train on only this many of the training tasks, spread evenly; None = all"
    )


class AdaptConfig(ComponentConfig):
    """Stage settings of adaptation: the budget, and an intervention for diagnosis."""

    episodes: int = Field(30, ge=1, description="episodes that an agent gets in each unseen task")
    validation_episodes: int = Field(
        20, ge=1, description="episodes per validation task when a method asks to be validated"
    )
    rewards: Literal["true", "shuffled", "zero"] = Field(
        "true",
        description="reward shown to the agent: true; shuffled, another task's; or zero (whoever learns from it then fails)",
    )
    switch_task: bool = Field(
        False,
        description="play another test task for the first half of the episodes, then, unannounced, the row's own",
    )

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """`switch_task` stands here only where it is on: rows of older versions keep their addresses."""
        values: dict[str, Any] = serialise(self)
        if not self.switch_task:
            values.pop("switch_task", None)
        return values


class CertificatePlan(_Frozen):
    """How environments are certified, and what a certificate must show for an environment to be ranked under the protocol."""

    solved: float | None = Field(None, ge=0, le=1, description="least share of test tasks that the oracle solves")
    headroom: float | None = Field(
        None, ge=0, le=1, description="least (oracle - blind ceiling) / (oracle - random) over the test tasks"
    )
    mixture_learners: int = Field(
        3, ge=0, description="learners that train on the mixture of training tasks; the best of them counts"
    )
    episodes: int = Field(5, ge=1, description="episodes per policy and test task")

    @property
    def demands_anything(self) -> bool:
        """Whether a certificate can fail."""
        return self.solved is not None or self.headroom is not None


class EnvironmentPlan(_Frozen):
    """What a protocol fixes for one environment."""

    split: SplitPlan
    source: str = Field(description="the RL algorithm that writes the learning histories and is the oracle")
    settings: dict[Literal["environment", "source", "collect", "train", "adapt"], dict[str, Any]] = Field(
        default_factory=dict, description="tables environment, source, collect, train, adapt"
    )
    method: dict[str, dict[str, Any]] = Field(default_factory=dict)
    backbone: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Protocol(_Frozen):
    """One protocol file."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*-v\d+$")
    summary: str
    seeds: tuple[int, ...] = Field(min_length=1)
    data_seed: int = 0
    default: bool = Field(
        False, description="whether the environments that it names are run under it when no protocol is asked for"
    )
    environments: dict[str, EnvironmentPlan]
    other_environments: EnvironmentPlan | None = Field(
        None, description="for environments that the protocol doesn't name: third parties'"
    )
    certificate: CertificatePlan = CertificatePlan()
    grid: tuple[str, ...] = Field(
        (), description="methods of `icrl-bench grid`, such as ad-mamba, macaw, and macaw@offline for that track"
    )
    method: dict[str, dict[str, Any]] = Field(default_factory=dict)
    backbone: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def full_name(self, environment: str) -> str:
        """`environment` with the newest version that the protocol names of it; as it is where it names none.

        So `pusher-goal` stays what a protocol ranks when a newer version is installed.
        """
        found = [re.fullmatch(re.escape(environment) + r"-v(\d+)", known) for known in self.environments]
        versions = [int(match[1]) for match in found if match]
        return f"{environment}-v{max(versions)}" if versions else environment

    def names(self, environment: str) -> bool:
        """Whether it has a plan of the environment's own, which may be given without its version."""
        return self.full_name(environment) in self.environments

    def plan_for(self, environment_id: str) -> EnvironmentPlan:
        """The environment's own plan, or the one for environments that the protocol doesn't name.

        Raises:
            UsageError: there is neither.
        """
        plan = self.environments.get(environment_id, self.other_environments)
        if plan is None:
            raise UsageError(
                f"{self.id} says nothing of {environment_id}, nor of other environments",
                f"it has {', '.join(sorted(self.environments))}; add [environments.{environment_id}] or [other_environments]",
            )
        return plan

    def settings_for(self, environment_id: str, method: str, backbone: str | None) -> dict[str, dict[str, Any]]:
        """All component settings of one run, later layers over earlier ones: `{section: {key: value}}`."""
        plan = self.plan_for(environment_id)
        full_name = method if backbone is None else f"{method}-{backbone}"
        sections: dict[str, dict[str, Any]] = {name: dict(table) for name, table in plan.settings.items()}
        for layer in (self, plan):
            for name in dict.fromkeys((method, full_name)):
                sections.setdefault("method", {}).update(layer.method.get(name, {}))
            if backbone is not None:
                sections.setdefault("backbone", {}).update(layer.backbone.get(backbone, {}))
        return sections

    _text: str = PrivateAttr("")

    @property
    def text(self) -> str:
        """The file that it was read from, as TOML; empty if it was made otherwise."""
        return self._text

    @cached_property
    def sha256(self) -> str:
        """Hash of the protocol's content; recorded with every row. A protocol that says nothing of certificates, of a grid
        and of being a default has the hash that it had before there were any."""
        unsaid = {"certificate", "grid", "default"} - self.model_fields_set
        return hashlib.sha256(self.model_dump_json(exclude=unsaid).encode()).hexdigest()
