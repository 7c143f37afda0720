"""The sources' final policies as experts: each task's own, named by its label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from icrl_bench.stages.train import Experts
from icrl_registry.contracts import Task
from icrl_registry.errors import UsageError

#: Two of eight, as `train.tasks` may leave them.
TASKS = [Task((0.25,), "train", 3), Task((0.75,), "train", 7)]


class Constant:
    """A source whose policies say what they were loaded with, and which left none where nothing is."""

    def greedy_policy(self, tensors: Mapping[str, Any], spec: Any) -> Any:
        return (lambda observations: np.full((len(observations), 1), tensors["says"])) if tensors else None


@pytest.fixture
def loaded() -> list[str]:
    return []


@pytest.fixture
def experts(loaded: list[str]) -> Experts:
    def load(task: Task) -> dict[str, Any]:
        loaded.append(task.label)
        return {"says": task.parameters[0]} if task.index == 3 else {}

    return Experts(Constant(), None, TASKS, load)  # type: ignore[arg-type]


def test_each_task_has_its_own_loaded_once(experts: Experts, loaded: list[str]):
    for _ in range(2):
        np.testing.assert_array_equal(experts(0, np.zeros((4, 2), np.float32)), np.full((4, 1), 0.25))
    assert loaded == ["train-003"]


def test_what_is_missing_goes_by_the_label_of_the_task(experts: Experts):
    with pytest.raises(UsageError, match="no expert for train-007"):
        experts(1, np.zeros((4, 2), np.float32))
