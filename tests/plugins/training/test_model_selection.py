"""Validation and the best parameters: what is kept, when, and that a kill loses nothing of it."""

import pytest
import torch
from torch import nn

from icrl_plugins.training.model_selection import ModelSelection, ModelSelectionConfig
from icrl_registry.errors import PluginError


def make(scores, **settings) -> ModelSelection:
    values = iter(scores)
    return ModelSelection(ModelSelectionConfig(**settings), lambda agent: {"score": next(values), "other": 0.0})


BEST = {"validation_every": 10, "select_best": True, "selection_metric": "score"}


def module_of(value: float) -> nn.Module:
    module = nn.Linear(1, 1)
    with torch.no_grad():
        module.weight.fill_(value)
    return module


def weight(selection: ModelSelection, module: nn.Module) -> float:
    return float(selection.parameters(module)["model.weight"][0, 0])


def test_the_best_is_kept_and_the_earlier_of_two_equals() -> None:
    selection = make([1.0, 3.0, 3.0, 2.0], **BEST)
    for update in (10, 20, 30, 40):
        metrics = selection.validate(update, None, module_of(update))
    assert metrics == {"validation_score": 2.0, "validation_other": 0.0}
    assert selection.best_update == 20
    assert weight(selection, module_of(99.0)) == 20.0


def test_without_selection_the_last_is_kept() -> None:
    selection = make([1.0], validation_every=10)
    selection.validate(10, None, module_of(10.0))
    assert weight(selection, module_of(99.0)) == 99.0
    assert selection.state() == {"validations": [{"update": 10, "score": 1.0, "other": 0.0}], "best_update": None}


def test_it_goes_on_from_what_was_kept() -> None:
    first = make([3.0], **BEST)
    first.validate(10, None, module_of(10.0))
    second = make([2.0], **BEST)
    second.resume({**first.best, "model.weight": torch.zeros(1, 1).numpy()}, first.state())
    second.validate(20, None, module_of(20.0))
    assert weight(second, module_of(99.0)) == 10.0
    assert [entry["update"] for entry in second.validations] == [10, 20]


def test_when_it_is_due() -> None:
    assert [update for update in range(1, 26) if make([], validation_every=10).due(update, 25)] == [10, 20, 25]
    assert not any(make([]).due(update, 25) for update in range(1, 26))


def test_an_unknown_metric_is_named_with_the_known_ones() -> None:
    selection = make([1.0], validation_every=1, select_best=True, selection_metric="speed")
    with pytest.raises(PluginError, match="no 'speed'") as caught:
        selection.validate(1, None, module_of(0.0))
    assert "score" in caught.value.hint


def test_selecting_without_validating_is_refused() -> None:
    with pytest.raises(ValueError, match="validation_every"):
        ModelSelectionConfig(select_best=True)
