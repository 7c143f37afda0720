"""Splits that a protocol lists: taken as they are, equal by name or disjoint, and refused where they are no tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from icrl_registry.errors import UsageError
from icrl_registry.protocols.loading import parse_protocol
from icrl_registry.protocols.model import SplitPlan
from icrl_registry.protocols.splits import draw_tasks, hash_tasks
from icrl_registry.testing.toy import ToyPoint
from icrl_registry.testing.toy_grid import ToyGrid


class TwoCells(ToyGrid):
    """Two corners of the grid."""

    def all_task_parameters(self):
        return np.array([[0.0, 0.0], [4.0, 4.0]])

    def sample_task_parameters(self, generator):
        return self.all_task_parameters()[generator.integers(2)]


def drawn(environment: ToyPoint, **plan: Any) -> dict[str, list[list[float]]]:
    splits = draw_tasks(environment, SplitPlan(**plan))
    assert [task.label for task in splits["test"]] == [f"test-{index:03d}" for index in range(len(splits["test"]))]
    return {split: [list(task.parameters) for task in tasks] for split, tasks in splits.items()}


def test_lists_are_taken_as_they_are_written():
    listed = {"train": [[0.5, 0.1], [0.2, 0.3]], "validation": [[0.1, 0.1]], "test": [[-0.5, 0.0], [0.7, 0.7]]}
    assert drawn(ToyPoint(), **listed) == listed


def test_splits_are_equal_by_name():
    tasks = [[-0.5, 0.0], [0.5, 0.0]]
    found = drawn(ToyPoint(), train=tasks, validation="train", test="train")
    assert found == {"train": tasks, "validation": tasks, "test": tasks}


def test_all_tasks_of_a_finite_family():
    found = drawn(TwoCells(), train="all", validation="train", test="all")
    assert found["train"] == found["validation"] == found["test"] == [[0.0, 0.0], [4.0, 4.0]]


def test_what_is_drawn_keeps_away_from_what_is_listed():
    listed = [[float(column), float(row)] for column in range(5) for row in range(4)]  # 20 of 25 cells
    found = drawn(ToyGrid(), seed=3, train=3, validation=1, test=listed)
    rest = [*found["train"], *found["validation"]]
    assert len(rest) == 4
    assert {row for _, row in rest} == {4.0}
    assert len({tuple(cell) for cell in rest}) == 4
    assert found["test"] == listed


def test_training_tasks_of_a_finite_family_never_repeat_whatever_the_seed():
    for seed in range(5):
        found = drawn(ToyGrid(), seed=seed, train=20, validation=2, test=3)
        assert len({tuple(task) for tasks in found.values() for task in tasks}) == 25


@pytest.mark.parametrize(
    ("environment", "plan", "words", "hint"),
    [
        (ToyPoint(), {"train": "all"}, "doesn't list its tasks", "how many train tasks"),
        (ToyPoint(), {"train": [[0.1]]}, "has 1 parameters, not 2", "goal_x"),
        (ToyPoint(), {"train": [[0.1, 0.2], [0.1, 0.2]]}, "listed twice, in train and train", 'train = "train"'),
        (
            ToyPoint(),
            {"train": [[0.1, 0.2]], "test": [[0.1, 0.2]]},
            "listed twice, in train and test",
            'test = "train"',
        ),
        (TwoCells(), {"train": "all", "test": [[0.0, 0.0]]}, "listed twice, in train and test", 'test = "train"'),
        (TwoCells(), {"train": 2, "validation": 1, "test": 1}, "has 2 tasks, but 4 different ones", 'train = "all"'),
        (TwoCells(), {"train": "all", "validation": "train", "test": 1}, "has 2 tasks, but 3 different", "fewer"),
    ],
)
def test_what_cannot_be_is_refused_in_words(environment: ToyPoint, plan: dict[str, Any], words: str, hint: str):
    with pytest.raises(UsageError, match=words) as caught:
        draw_tasks(environment, SplitPlan(**plan))
    assert hint in caught.value.hint


def test_a_task_outside_the_family_is_none():
    class Bounded(ToyPoint):
        def why_outside(self, parameters):
            return "goals lie within 0.8" if np.abs(parameters).max() > 0.8 else None

    with pytest.raises(UsageError, match=r"the test task \[0.9, 0.0\] is none of toy-point-v1: goals lie within 0.8"):
        draw_tasks(Bounded(), SplitPlan(train=2, test=[[0.9, 0.0]]))


def test_a_family_that_lists_its_tasks_has_no_others():
    with pytest.raises(UsageError, match=r"\[0.4, 0.0\] is none of .*: it has 2 tasks: 0, 0; 4, 4"):
        draw_tasks(TwoCells(), SplitPlan(train=1, test=[[0.4, 0.0]]))


@pytest.mark.parametrize("value", ["[]", "0", '"test"', "[['left']]"])
def test_a_file_that_says_something_else_is_refused(value: str):
    text = f"""
        id = "mine-v1"
        summary = "mine"
        seeds = [0]
        [environments.toy-grid-v1]
        source = "q-learning"
        [environments.toy-grid-v1.split]
        train = {value}
    """
    with pytest.raises(UsageError, match=r"environments.toy-grid-v1.split"):
        parse_protocol(text, "mine.toml")


def test_the_hash_holds_listed_tasks_too():
    plan = {"train": [[0.1, 0.2]], "validation": "train", "test": [[0.3, 0.4]]}
    frozen = hash_tasks(draw_tasks(ToyPoint(), SplitPlan(**plan)))
    assert draw_tasks(ToyPoint(), SplitPlan(**plan, sha256=frozen))["test"][0].parameters == (0.3, 0.4)
