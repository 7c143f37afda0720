"""Experts that came with imported data: each label where it was recorded, the nearest one elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icrl_bench.artefacts import imports
from icrl_plugins.sources.imported_experts import ACTIONS, OBSERVATIONS, ImportedExperts, RecordedExpert, _keys
from icrl_registry.contracts import LearningHistory, SourceRun, Task
from icrl_registry.discovery import load
from icrl_registry.errors import UsageError
from icrl_registry.testing.conformance import run_checks
from icrl_registry.testing.toy import ToyPoint, toy_history

POINT = ToyPoint()


def labelled(task: Task, streams: int = 3) -> LearningHistory:
    """A history whose expert goes straight to the goal."""
    parts = [toy_history(POINT, task, num_episodes=4, seed=stream) for stream in range(streams)]
    names = ("observations", "actions", "rewards", "next_observations", "terminated", "truncated")
    history = LearningHistory(task, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
    return replace(history, expert_actions=np.clip(np.float32(task.parameters) - history.observations, -1, 1))


@pytest.fixture
def tasks() -> list[Task]:
    return POINT.tasks(3)


@pytest.fixture
def source(tmp_path: Path, tasks: list[Task]) -> ImportedExperts:
    """Two tasks with experts and a third without."""
    histories = [labelled(task) for task in tasks]
    histories[2] = replace(histories[2], expert_actions=None)
    imports.write_files(histories, POINT.spec.id, tmp_path / "data", "safetensors", "toy")
    return ImportedExperts(ImportedExperts.Config(path=str(tmp_path / "data")))


def collect(source: ImportedExperts, tasks: list[Task]) -> list[SourceRun]:
    return list(source.collect(POINT, tasks, np.random.SeedSequence(0).spawn(len(tasks)), lambda steps: None))


def test_every_recorded_step_gets_its_own_label(source: ImportedExperts, tasks: list[Task]):
    for task, run in zip(tasks[:2], collect(source, tasks)[:2], strict=True):
        expected = labelled(task)
        for name in ("observations", "actions", "rewards", "expert_actions"):
            np.testing.assert_array_equal(getattr(run.history, name), getattr(expected, name))
        policy = source.greedy_policy(run.policy, POINT.spec)
        assert policy is not None
        for stream in range(3):
            seen = expected.observations[stream]
            np.testing.assert_array_equal(policy(seen), expected.expert_actions[stream])
        shuffled = np.random.default_rng(0).permutation(seen)
        np.testing.assert_array_equal(policy(shuffled), np.clip(np.float32(task.parameters) - shuffled, -1, 1))


def test_elsewhere_it_is_the_nearest_observation_that_counts(source: ImportedExperts, tasks: list[Task]):
    (run, *_) = collect(source, tasks)
    policy = source.greedy_policy(run.policy, POINT.spec)
    asked = np.random.default_rng(1).uniform(-1, 1, (600, 2)).astype(np.float32)
    recorded = run.history.observations.reshape(-1, 2)
    nearest = np.linalg.norm(recorded[None] - asked[:, None], axis=-1).argmin(axis=-1)
    np.testing.assert_array_equal(policy(asked), run.history.expert_actions.reshape(-1, 2)[nearest])


def test_zero_has_one_sign():
    seen = np.array([[0.0, 1.0], [2.0, 0.0]], np.float32)
    order = np.argsort(_keys(seen))
    expert = RecordedExpert(seen[order], np.array([[0.1], [0.2]], np.float32)[order])
    np.testing.assert_array_equal(expert(np.array([[-0.0, 1.0], [2.0, -0.0]], np.float32)), np.float32([[0.1], [0.2]]))


def test_a_task_without_experts_has_no_policy(source: ImportedExperts, tasks: list[Task]):
    runs = collect(source, tasks)
    assert dict(runs[2].policy) == {}
    assert source.greedy_policy(runs[2].policy, POINT.spec) is None
    with pytest.raises(UsageError, match="not an expert's"):
        source.greedy_policy({**runs[0].policy, ACTIONS: np.zeros((4, 3), np.float32)}, POINT.spec)
    with pytest.raises(UsageError, match="not an expert's"):
        source.greedy_policy({OBSERVATIONS: np.zeros((4, 2), np.float32)}, POINT.spec)


def test_it_keeps_the_contract_of_a_source(tmp_path: Path):
    """On data of the toy that the checks try it in, collected for their tasks."""
    histories = [labelled(task) for task in POINT.tasks(4)]
    imports.write_files(histories, POINT.spec.id, tmp_path / "data", "safetensors", "toy")
    results = run_checks(load("source", "imported-experts"), {"path": str(tmp_path / "data")})
    assert not [result for result in results if not result.passed]
