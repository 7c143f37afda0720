"""Learning histories as artefacts: their returns by hand, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icrl_bench.artefacts.histories import (
    HISTORY_FILE,
    dataset_kind,
    final_return,
    initial_return,
    learning_curve,
    load_history,
    load_policy,
    save_run,
)
from icrl_bench.artefacts.store import Store
from icrl_registry.contracts import LearningHistory, SourceRun, Task
from icrl_registry.errors import BenchError, DamagedArtefactError, NumericalError, PluginError

TASK = Task((0.5, -0.25), "train", 3)


def history_of(returns: list[list[float]], horizon: int = 4, rest: int = 0) -> LearningHistory:
    """Streams of episodes with these returns (all of it in an episode's last step), and `rest` further steps."""
    streams, steps = len(returns), len(returns[0]) * horizon + rest
    rewards = np.zeros((streams, steps), np.float32)
    ends = np.zeros((streams, steps), np.bool_)
    for stream, values in enumerate(returns):
        rewards[stream, horizon - 1 : len(values) * horizon : horizon] = values
        ends[stream, horizon - 1 : len(values) * horizon : horizon] = True
    generator = np.random.default_rng(0)
    terminated = ends & (np.arange(steps) % (2 * horizon) < horizon)  # every other episode ends by itself
    return LearningHistory(
        task=TASK,
        observations=generator.normal(size=(streams, steps, 3)).astype(np.float32),
        actions=generator.uniform(-1, 1, size=(streams, steps, 2)).astype(np.float32),
        rewards=rewards,
        next_observations=generator.normal(size=(streams, steps, 3)).astype(np.float32),
        terminated=terminated,
        truncated=ends & ~terminated,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def save(store: Store, history: LearningHistory, **keywords: Any) -> None:
    save_run(store, "d", SourceRun(history, {"weight": np.ones(2, np.float32)}, **keywords), {"seconds": 1.0})


def test_returns_by_hand():
    # 25 episodes: tenths of 3, 3, 3, 3, 3, 2, 2, 2, 2, 2 episodes
    rising = [float(episode) for episode in range(25)]
    history = history_of([rising, [-value for value in rising]], rest=2)
    assert len(history.episode_bounds(0)) == 25
    assert initial_return(history_of([rising])) == pytest.approx((0 + 1 + 2) / 3)
    assert final_return(history_of([rising])) == pytest.approx((23 + 24) / 2)
    assert final_return(history_of([rising, [10.0] * 25])) == pytest.approx((23.5 + 10) / 2)
    assert final_return(history) == 0
    assert learning_curve(history_of([rising]), points=5) == pytest.approx([2, 7, 12, 17, 22])
    assert learning_curve(history, points=5) == pytest.approx(np.zeros(5))


def test_few_episodes_give_few_points():
    history = history_of([[1.0, 2.0, 4.0]])
    assert learning_curve(history) == pytest.approx([1, 2, 4])
    assert (initial_return(history), final_return(history)) == (1, 4)


def test_without_a_whole_episode_there_is_no_return():
    history = history_of([[]], rest=3)
    assert history.episode_bounds(0) == []
    assert (initial_return(history), final_return(history)) == (None, None)
    assert learning_curve(history).shape == (0,)


def test_a_stream_without_a_whole_episode_counts_for_nothing():
    history = history_of([[1.0, 3.0], [0.0, 0.0]])
    terminated = np.array(history.terminated)
    terminated[1], truncated = False, np.array(history.truncated)
    truncated[1] = False
    history = dataclasses.replace(history, terminated=terminated, truncated=truncated)
    assert final_return(history) == 3


@pytest.mark.parametrize("means", [False, True])
def test_a_history_comes_back_as_read_only_maps(store: Store, means: bool):
    history = history_of([[1.0, 2.0], [3.0, 4.0]], rest=1)
    if means:
        history = dataclasses.replace(history, policy_means=history.actions * np.float32(0.5))
    save(store, history, statistics={"greedy_return": 5.0})
    loaded = load_history(store, "d", TASK)
    for field in dataclasses.fields(LearningHistory):
        first, second = getattr(history, field.name), getattr(loaded, field.name)
        if isinstance(first, np.ndarray):
            assert isinstance(second, np.memmap)
            np.testing.assert_array_equal(first, second)
        else:
            assert first == second
    assert load_policy(store, "d", TASK)["weight"].tolist() == [1, 1]
    manifest = store.manifest(dataset_kind("d"), "train-003")
    assert manifest["task"] == {"split": "train", "index": 3, "parameters": [0.5, -0.25]}
    assert (manifest["streams"], manifest["steps"], manifest["episodes"]) == (2, 18, 4)
    assert (manifest["initial_return"], manifest["final_return"]) == (2, 3)
    assert manifest["statistics"] == {"greedy_return": 5.0}


def broken(name: str, index: tuple[int, ...], value: float) -> LearningHistory:
    history = history_of([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    column = np.array(getattr(history, name))
    column[index] = value
    return dataclasses.replace(history, **{name: column})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "index", "place"),
    [
        ("rewards", (1, 0), "stream 1, episode 0, step 0"),
        ("rewards", (0, 3), "stream 0, episode 0, step 3"),
        ("rewards", (0, 4), "stream 0, episode 1, step 0"),
        ("observations", (1, 11, 2), "stream 1, episode 2, step 3"),
        ("next_observations", (0, 6, 0), "stream 0, episode 1, step 2"),
        ("actions", (1, 6, 1), "stream 1, episode 1, step 2"),
    ],
)
def test_what_is_not_finite_is_refused_with_its_place(
    store: Store, name: str, index: tuple[int, ...], place: str, value: float
):
    with pytest.raises(NumericalError) as caught:
        save(store, broken(name, index, value))
    assert caught.value.message == f"task train-003, {place}: {name} not finite"
    assert not store.exists(dataset_kind("d"), "train-003")


@pytest.mark.parametrize("value", [1.0001, -7.0])
def test_actions_outside_the_range_are_refused_with_their_place(store: Store, value: float):
    with pytest.raises(PluginError, match=r"task train-003, stream 1, episode 1, step 1: actions leave \[-1, 1\]"):
        save(store, broken("actions", (1, 5, 0), value))


def test_actions_at_the_bounds_are_fine(store: Store):
    save(store, broken("actions", (0, 0, 0), -1.0))
    assert store.exists(dataset_kind("d"), "train-003")
    save(store, broken("actions", (0, 0, 0), 1.0))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("rewards", lambda column: column[0]),
        ("rewards", lambda column: column[..., None]),
        ("observations", lambda column: column[:, :-1]),
        ("observations", lambda column: column[0]),
        ("next_observations", lambda column: column[..., :-1]),
        ("actions", lambda column: column[..., 0]),
        ("terminated", lambda column: column[:1]),
        ("truncated", lambda column: column[..., None]),
        ("truncated", lambda column: column.astype(np.float32)),
        ("rewards", lambda column: column.astype(np.float64)),
        ("observations", lambda column: column.astype(np.int64)),
    ],
)
def test_shapes_and_types_that_break_the_contract_are_refused(store: Store, name: str, change: Any):
    history = history_of([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(PluginError, match="task train-003"):
        save(store, dataclasses.replace(history, **{name: change(getattr(history, name))}))
    assert store.names(dataset_kind("d")) == []


def test_policies_and_statistics_must_be_finite(store: Store):
    history = history_of([[1.0]])
    with pytest.raises(NumericalError, match="train-003: the policy's tensor w"):
        save_run(store, "d", SourceRun(history, {"w": np.array([np.nan])}), {})
    with pytest.raises(NumericalError, match="train-003: the statistic greedy_return"):
        save_run(store, "d", SourceRun(history, {}, {"greedy_return": float("inf")}), {})


def test_a_damaged_history_is_named(store: Store):
    save(store, history_of([[1.0, 2.0]]))
    path = store.path(dataset_kind("d"), "train-003") / HISTORY_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedArtefactError, match=str(path)):
        load_history(store, "d", TASK)


def test_a_history_without_a_column_is_named(store: Store):
    from icrl_bench.artefacts.tensors import encode_tensors

    with store.write(dataset_kind("d"), TASK.label, {}) as folder:
        (folder / HISTORY_FILE).write_bytes(encode_tensors({"rewards": np.zeros((1, 1), np.float32)}))
    with pytest.raises(BenchError, match="lacks observations, actions, next_observations"):
        load_history(store, "d", TASK)
