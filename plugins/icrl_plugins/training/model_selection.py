"""Validation while training, and keeping the parameters that did best in it instead of the last ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Agent, Array
from icrl_registry.errors import PluginError

_PREFIX = "best."


class ModelSelectionConfig(ComponentConfig):
    """When to validate and what to keep, under the same names in every method."""

    validation_every: int = Field(0, ge=0, description="Updates between returns on validation tasks; 0: never.")
    select_best: bool = Field(False, description="Keep the parameters of the best validation instead of the last ones.")
    selection_metric: str = Field("last_episodes", description="The validation metric that select_best maximises.")

    @model_validator(mode="after")
    def _check_selection(self) -> Self:
        if self.select_best and not self.validation_every:
            raise ValueError("select_best needs validation_every above 0")
        return self


class ModelSelection:
    """The validations of one training and, if asked for, the best parameters so far. Part of what a kill must not lose."""

    def __init__(
        self,
        config: ModelSelectionConfig,
        validate: Callable[[Agent], Mapping[str, float]],
        parameters: Callable[[], dict[str, Array]],
    ) -> None:
        """`parameters` copies those of the model as it stands, by the names that they have in the final checkpoint."""
        self.config = config
        self._validate = validate
        self._parameters = parameters
        self.validations: list[dict[str, float]] = []
        self.best: dict[str, Array] = {}  # the parameters of the best validation, as `best.NAME`
        self.best_update: int | None = None

    def due(self, update: int, num_updates: int, before: int | None = None) -> bool:
        """Whether to validate after `update`; always after the last one, unless validation is off.

        `before` is the update asked about last, by default the one before: with rounds of many updates, one may be passed.
        """
        every, before = self.config.validation_every, update - 1 if before is None else before
        return bool(every) and (update >= num_updates or update // every > before // every)

    def validate(self, update: int, agent: Agent) -> dict[str, float]:
        """Lets `agent`, which acts by the present parameters, adapt to the validation tasks; metrics for the report.

        Raises:
            PluginError: the metric to select by is not among those of the validation.
        """
        scores = {name: float(value) for name, value in self._validate(agent).items()}
        if self.config.select_best:
            metric = self.config.selection_metric
            if metric not in scores:
                raise PluginError(
                    f"validation gave no '{metric}'",
                    f"set method.selection_metric to one of: {', '.join(sorted(scores))}",
                )
            earlier = [entry[metric] for entry in self.validations]
            if not earlier or scores[metric] > max(earlier):
                self.best = {_PREFIX + name: tensor for name, tensor in self._parameters().items()}
                self.best_update = update
        self.validations.append({"update": update, **scores})
        return {f"validation_{name}": value for name, value in scores.items()}

    def parameters(self) -> dict[str, Array]:
        """What the final checkpoint holds: the best parameters or, without a selection, the present ones."""
        best = {name.removeprefix(_PREFIX): tensor for name, tensor in self.best.items()}
        return best or self._parameters()

    def state(self) -> dict[str, Any]:
        """The JSON-able part; `best` is the part in tensors."""
        return {"validations": [dict(entry) for entry in self.validations], "best_update": self.best_update}

    def resume(self, tensors: Mapping[str, Array], state: Mapping[str, Any]) -> None:
        """Continues from what `state` and `best` gave."""
        self.validations = [dict(entry) for entry in state["validations"]]
        self.best_update = state["best_update"]
        self.best = {name: np.array(tensor) for name, tensor in tensors.items() if name.startswith(_PREFIX)}
