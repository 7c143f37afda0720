"""How tasks are drawn from a family, spread, and frozen by their hash."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from icrl_registry.contracts import Task
from icrl_registry.errors import BenchError, UsageError
from icrl_registry.protocols.model import SplitPlan
from icrl_registry.protocols.splits import draw_tasks, hash_tasks, spread_evenly
from icrl_registry.testing.toy import ToyPoint


class Crowded(ToyPoint):
    """Draws one of three tasks."""

    def sample_task_parameters(self, generator: np.random.Generator) -> Any:
        return np.array([generator.integers(3) / 10, 0.0])


def plan_of(**keywords: Any) -> SplitPlan:
    return SplitPlan(**{"seed": 3, "train": 4, "validation": 2, "test": 3, **keywords})


class TestDrawing:
    def test_the_seed_alone_decides(self):
        assert draw_tasks(ToyPoint(), plan_of()) == draw_tasks(ToyPoint(), plan_of())
        assert draw_tasks(ToyPoint(), plan_of()) != draw_tasks(ToyPoint(), plan_of(seed=4))

    def test_more_test_tasks_leave_the_first_as_they_are(self):
        few, many = draw_tasks(ToyPoint(), plan_of()), draw_tasks(ToyPoint(), plan_of(test=5))
        assert many["train"] == few["train"]
        assert many["test"][:3] == few["test"]

    def test_parameters_are_rounded_so_that_machines_agree(self):
        for tasks in draw_tasks(ToyPoint(), plan_of()).values():
            assert all(value == round(value, 6) for task in tasks for value in task.parameters)

    def test_the_minimum_distance_is_kept(self):
        splits = draw_tasks(ToyPoint(), plan_of(minimum_distance=0.3))
        points = [np.array(task.parameters) for tasks in splits.values() for task in tasks]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(points, 2)) > 0.3

    def test_a_frozen_split_is_checked(self):
        frozen = hash_tasks(draw_tasks(ToyPoint(), plan_of()))
        draw_tasks(ToyPoint(), plan_of(sha256=frozen))
        with pytest.raises(BenchError, match="frozen split") as caught:
            draw_tasks(ToyPoint(), plan_of(seed=4, sha256=frozen))
        assert "new version" in caught.value.hint

    def test_tasks_that_do_not_fit_are_said(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("icrl_registry.protocols.splits.ATTEMPTS", 300)
        with pytest.raises(UsageError, match=r"4 tasks with distances above 0\.0 were not found") as caught:
            draw_tasks(Crowded(), plan_of(train=2, validation=1, test=1))
        assert "minimum_distance" in caught.value.hint
        assert len(draw_tasks(Crowded(), plan_of(train=1, validation=1, test=1))["test"]) == 1

    def test_the_hash_is_of_every_parameter_and_split(self):
        tasks = draw_tasks(ToyPoint(), plan_of())
        moved = {**tasks, "test": (*tasks["test"][:-1], Task((0.0, 0.1), "test", 2))}
        swapped = {**tasks, "test": (tasks["test"][1], tasks["test"][0], tasks["test"][2])}
        assert len({hash_tasks(tasks), hash_tasks(moved), hash_tasks(swapped)}) == 3
        last_bit = Task(tuple(np.nextafter(value, 1) for value in tasks["test"][0].parameters), "test", 0)
        assert hash_tasks({**tasks, "test": (last_bit, *tasks["test"][1:])}) == hash_tasks(tasks)


def test_spreading():
    tasks = [Task((float(i),), "train", i) for i in range(10)]
    assert [task.index for task in spread_evenly(tasks, 4)] == [0, 3, 6, 9]
    assert [task.index for task in spread_evenly(tasks, 1)] == [0]
    assert spread_evenly(tasks, None) == spread_evenly(tasks, 10) == spread_evenly(tasks, 99) == tuple(tasks)
