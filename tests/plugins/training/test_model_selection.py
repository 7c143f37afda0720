"""Validation and the best parameters: what is kept, when, and that a kill loses nothing of it."""

import numpy as np
import pytest

from icrl_plugins.training.model_selection import ModelSelection, ModelSelectionConfig
from icrl_registry.errors import PluginError


class Trained:
    """A model of one number, under selection."""

    def __init__(self, scores, **settings) -> None:
        values = iter(scores)
        self.weight = 0.0
        self.selection = ModelSelection(
            ModelSelectionConfig(**settings),
            lambda agent: {"score": next(values), "other": 0.0},
            lambda: {"model.weight": np.full(1, self.weight)},
        )

    def validate(self, update: int) -> dict[str, float]:
        self.weight = float(update)
        return self.selection.validate(update, None)

    def final_weight(self) -> float:
        self.weight = 99.0
        return float(self.selection.parameters()["model.weight"][0])


BEST = {"validation_every": 10, "select_best": True, "selection_metric": "score"}


def test_the_best_is_kept_and_the_earlier_of_two_equals() -> None:
    trained = Trained([1.0, 3.0, 3.0, 2.0], **BEST)
    for update in (10, 20, 30, 40):
        metrics = trained.validate(update)
    assert metrics == {"validation_score": 2.0, "validation_other": 0.0}
    assert trained.selection.best_update == 20
    assert trained.final_weight() == 20.0


def test_without_selection_the_last_is_kept() -> None:
    trained = Trained([1.0], validation_every=10)
    trained.validate(10)
    assert trained.final_weight() == 99.0
    state = trained.selection.state()
    assert state == {"validations": [{"update": 10, "score": 1.0, "other": 0.0}], "best_update": None}


def test_it_goes_on_from_what_was_kept() -> None:
    first, second = Trained([3.0], **BEST), Trained([2.0], **BEST)
    first.validate(10)
    second.selection.resume({**first.selection.best, "model.weight": np.zeros(1)}, first.selection.state())
    second.validate(20)
    assert second.final_weight() == 10.0
    assert [entry["update"] for entry in second.selection.validations] == [10, 20]


def test_when_it_is_due() -> None:
    due = Trained([], validation_every=10).selection.due
    assert [update for update in range(1, 26) if due(update, 25)] == [10, 20, 25]
    assert not any(Trained([]).selection.due(update, 25) for update in range(1, 26))


def test_in_rounds_it_is_due_when_one_was_passed() -> None:
    due = Trained([], validation_every=10).selection.due
    assert [update for update in range(7, 50, 7) if due(update, 45, update - 7)] == [14, 21, 35, 42, 49]


def test_an_unknown_metric_is_named_with_the_known_ones() -> None:
    with pytest.raises(PluginError, match="no 'speed'") as caught:
        Trained([1.0], validation_every=1, select_best=True, selection_metric="speed").validate(1)
    assert "score" in caught.value.hint


def test_selecting_without_validating_is_refused() -> None:
    with pytest.raises(ValueError, match="validation_every"):
        ModelSelectionConfig(select_best=True)
