"""Histories that travel: written for other programs and read back bit for bit, and foreign files that are refused in words."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from icrl_bench.artefacts import imports
from icrl_bench.artefacts.histories import COLUMNS, OPTIONAL_COLUMNS
from icrl_bench.artefacts.store import Store
from icrl_registry.contracts import LearningHistory, Task
from icrl_registry.errors import PluginError, UsageError
from icrl_registry.testing.toy import ToyPoint, toy_history

POINT = ToyPoint()
ALL = (*COLUMNS, *OPTIONAL_COLUMNS)


def histories(streams: int = 2, cut: int = 3) -> list[LearningHistory]:
    """Two tasks; streams that differ, each with an unfinished last episode of `cut` steps, one episode terminated."""
    made = []
    for task in [*POINT.tasks(1), *POINT.tasks(1, seed=1, split="test")]:
        parts = [toy_history(POINT, task, num_episodes=3, seed=stream) for stream in range(streams)]
        recorded = (*COLUMNS, "policy_means")
        columns = {name: np.concatenate([getattr(part, name) for part in parts])[:, : 20 + cut] for name in recorded}
        columns["expert_actions"] = np.tanh(columns["observations"] - np.float32(task.parameters))  # of them alone
        columns["terminated"] = columns["terminated"].copy()
        columns["terminated"][0, 9], columns["truncated"][0, 9] = True, False
        made.append(LearningHistory(task, **columns))
    return made


def same(first: LearningHistory, second: LearningHistory) -> bool:
    return first.task == second.task and all(
        np.array_equal(getattr(first, name), getattr(second, name))
        and getattr(first, name).dtype == getattr(second, name).dtype
        for name in ALL
    )


@pytest.mark.parametrize("form", imports.FORMATS)
@pytest.mark.parametrize("cut", [0, 3])
def test_a_round_trip_is_exact(tmp_path: Path, form: str, cut: int):
    if form == "minari":
        pytest.importorskip("minari")
    before = histories(cut=cut)
    imports.write_files(before, "toy-point-v1", tmp_path / "out", form, "toy")
    data = imports.read_files([tmp_path / "out"])
    assert data.environment == "toy-point-v1"
    assert all(map(same, before, data.histories))
    assert imports.content_hash("toy-point-v1", data.histories) == imports.content_hash("toy-point-v1", before)


def test_the_content_tells_data_apart_and_nothing_else():
    first = histories()
    content = imports.content_hash("toy-point-v1", first)
    assert imports.content_hash("toy-point-v1", first[::-1]) == content  # not the order
    elsewhere = [replace(each, task=replace(each.task, split="validation", index=7)) for each in first]
    assert imports.content_hash("toy-point-v1", elsewhere) == content  # nor the place among the splits
    rewards = first[0].rewards.copy()
    rewards[1, 5] = np.nextafter(rewards[1, 5], np.float32(9))
    moved = replace(first[0], task=replace(first[0].task, parameters=(0.1, 0.2)))
    others = [
        imports.content_hash("toy-point-v1", [replace(each, expert_actions=None) for each in first]),
        imports.content_hash("toy-point-v1", [replace(first[0], rewards=rewards), first[1]]),
        imports.content_hash("toy-point-v1", [moved, first[1]]),
        imports.content_hash("toy-point-v1", first[:1]),
        imports.content_hash("other-v1", first),
    ]
    assert len({content, *others}) == 6


def test_minari_itself_reads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    minari = pytest.importorskip("minari")
    (history, _) = histories(cut=0)
    imports.write_files([history], "toy-point-v1", tmp_path, "minari", "toy")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = minari.load_dataset("icrl-bench/toy-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (4, 40)
    assert dataset.observation_space.shape == (2,)
    episode = dataset[1]
    assert np.array_equal(episode.observations[:-1], history.observations[0, 10:20])
    assert np.array_equal(episode.observations[-1], history.next_observations[0, 19])
    assert np.array_equal(episode.rewards, history.rewards[0, 10:20])
    assert imports.read_files(["icrl-bench/toy-v0"]).histories[0].task == history.task  # by its id


@pytest.mark.filterwarnings("ignore::UserWarning")  # of what a data set should say of its authors
def test_a_minari_data_set_by_others_is_one_stream_of_one_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    minari = pytest.importorskip("minari")
    from gymnasium.spaces import Box
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    (history, _) = histories(streams=1, cut=0)
    episodes = [
        EpisodeBuffer(
            observations=np.concatenate([history.observations[0, part], history.next_observations[0, part][-1:]]),
            actions=history.actions[0, part],
            rewards=history.rewards[0, part],
            terminations=history.terminated[0, part],
            truncations=history.truncated[0, part],
        )
        for part in (slice(0, 10), slice(10, 20))
    ]
    box = Box(-1, 1, (2,), np.float32)
    minari.create_dataset_from_buffers("point/expert-v0", episodes, observation_space=box, action_space=box)
    with pytest.raises(UsageError, match="environment"):
        imports.read_files(["point/expert-v0"])
    with pytest.raises(UsageError, match="task"):
        imports.read_files(["point/expert-v0"], "toy-point-v1")
    data = imports.read_files(["point/expert-v0"], "toy-point-v1", task=(0.5, -0.25))
    (read,) = data.histories
    assert read.task == Task((0.5, -0.25), "train", 0)
    assert all(np.array_equal(getattr(read, name), getattr(history, name)) for name in COLUMNS)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of what a data set should say of its authors
def test_discrete_actions_are_one_hot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A Minari data set has their numbers, a history rows that choose one; what chooses none is refused."""
    minari = pytest.importorskip("minari")
    from gymnasium.spaces import Box, Discrete
    from minari.data_collector import EpisodeBuffer

    from icrl_registry.testing.toy_grid import ToyGrid

    grid = ToyGrid()
    spec = grid.spec
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    episode = EpisodeBuffer(
        observations=np.zeros((4, spec.observation_size), np.float32),
        actions=np.array([2, 0, 1]),
        rewards=np.zeros(3),
        terminations=np.zeros(3, bool),
        truncations=np.array([False, False, True]),
    )
    box = Box(0, 9, (spec.observation_size,), np.float32)
    minari.create_dataset_from_buffers(
        "grid/some-v0", [episode], observation_space=box, action_space=Discrete(spec.action_size)
    )
    task = tuple(float(value) for value in grid.sample_task_parameters(np.random.default_rng(0)))
    (history,) = imports.read_files(["grid/some-v0"], spec.id, task).histories
    assert history.actions[0].argmax(axis=-1).tolist() == [2, 0, 1]
    imports.keep(Store(tmp_path), grid, spec.id, [history])
    with pytest.raises(UsageError, match="one-hot"):
        imports.keep(Store(tmp_path), grid, spec.id, [replace(history, actions=history.actions * np.float32(0.5))])
    with pytest.raises(UsageError, match="one-hot"):
        imports.keep(Store(tmp_path), grid, spec.id, [replace(history, expert_actions=np.zeros_like(history.actions))])


def test_plain_files_by_others(tmp_path: Path):
    """One stream without its axis, float64 and integers for flags: what one would write at first."""
    first, second = histories(streams=1)
    for number, history in enumerate((first, second)):
        columns = {name: getattr(history, name)[0].astype(np.float64) for name in COLUMNS}
        np.savez(tmp_path / f"{number}.npz", **columns, parameters=history.task.parameters)
    data = imports.read_files([tmp_path], "toy-point-v1")
    assert [history.task.label for history in data.histories] == ["train-000", "train-001"]
    assert np.array_equal(data.histories[1].actions, second.actions)
    assert data.histories[0].terminated.dtype == np.bool_
    columns = {name: getattr(first, name) for name in COLUMNS}
    about = {"parameters": json.dumps(first.task.parameters), "split": "test", "index": "3"}
    save_file(columns, tmp_path / "one.safetensors", metadata=about)
    (read,) = imports.read_files([tmp_path / "one.safetensors"], "toy-point-v1").histories
    assert read.task == replace(first.task, split="test", index=3)


def broken(tmp_path: Path, **changes: object) -> Path:
    (history, _) = histories(streams=1)
    columns = {name: getattr(history, name) for name in COLUMNS}
    arrays = {**columns, "parameters": history.task.parameters, **changes}
    np.savez(tmp_path / "a.npz", **{name: value for name, value in arrays.items() if value is not None})
    return tmp_path / "a.npz"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rewards": None}, "lacks rewards"),
        ({"parameters": None}, "does not say its task"),
        ({"rewards": np.zeros((1, 2, 3, 4))}, "rewards has shape"),
        ({"terminated": np.full((1, 23), 2)}, "other numbers than 0 and 1"),
        ({"terminated": np.full((1, 23), "no")}, "not numbers"),
        ({"actions": np.full((1, 23, 2), "left")}, "not numbers"),
        ({"split": "exam"}, "split is 'exam'"),
        ({"index": -1}, "index"),
        ({"parameters": (np.nan, 0.0)}, "not finite"),
        ({"rewards": np.array([None] * 23)}, "pickle"),
    ],
)
def test_a_file_that_is_none_is_refused_in_words(tmp_path: Path, changes: dict[str, object], words: str):
    with pytest.raises(UsageError) as caught:
        imports.read_files([broken(tmp_path, **changes)], "toy-point-v1")
    assert words in caught.value.message
    assert "a.npz" in caught.value.message


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"\x93NUMPY\x01\x00", b"{}" * 50])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_bytes_that_are_no_archive(tmp_path: Path, suffix: str, content: bytes):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="x"):
        imports.read_files([path], "toy-point-v1")


def test_an_archive_that_promises_more_than_it_holds(tmp_path: Path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**60,)})
    with zipfile.ZipFile(tmp_path / "big.npz", "w") as archive:
        archive.writestr("rewards.npy", header.getvalue() + b"\0" * 64)
    with pytest.raises(UsageError, match=r"big\.npz"):
        imports.read_files([tmp_path / "big.npz"], "toy-point-v1")


def test_two_histories_of_one_task_or_one_place(tmp_path: Path):
    (history, _) = histories()
    twice = [history, replace(history, task=replace(history.task, index=1))]
    imports.write_files(twice, "toy-point-v1", tmp_path, "npz", "toy")
    with pytest.raises(UsageError, match="both hold the task"):
        imports.read_files([tmp_path])


def test_nothing_to_read(tmp_path: Path):
    with pytest.raises(UsageError, match="holds no"):
        imports.read_files([tmp_path])
    with pytest.raises(UsageError, match="no-such"):
        imports.read_files(["no-such/data-v0"])
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match="no known format"):
        imports.read_files([tmp_path / "notes.txt"])


def test_kept_once_under_its_content(tmp_path: Path):
    store, before = Store(tmp_path), histories()
    content = imports.keep(store, POINT, "toy-point-v1", before)
    assert imports.keep(store, POINT, "toy-point-v1", before) == content
    assert store.names(imports.KIND) == [content]
    assert store.problems(imports.KIND, content) == []
    assert all(map(same, before, imports.read_files([store.path(imports.KIND, content)]).histories))
    stored = load_file(store.path(imports.KIND, content) / "train-000.safetensors")  # the library reads them as well
    assert np.array_equal(stored["rewards"], before[0].rewards)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            lambda h: replace(h, actions=h.actions[..., :1], policy_means=None, expert_actions=None),
            UsageError,
            "actions of size 1",
        ),
        (lambda h: replace(h, task=Task((0.5,))), UsageError, "1 task parameters"),
        (lambda h: replace(h, truncated=np.zeros_like(h.truncated)), UsageError, "an episode of"),
        (lambda h: replace(h, actions=h.actions * np.float32(3)), PluginError, "actions leave"),
        (lambda h: replace(h, expert_actions=h.actions * np.float32(3)), PluginError, "expert_actions leave"),
        (lambda h: replace(h, expert_actions=h.actions[:, :4]), PluginError, "expert_actions has shape"),
        (lambda h: replace(h, observations=h.observations * 0), UsageError, "for one observation"),
    ],
)
def test_what_does_not_fit_the_environment_is_not_kept(tmp_path: Path, change, error, words):
    (history, _) = histories(streams=1, cut=10)
    ended = history.terminated.copy()
    ended[0, -1] = True
    with pytest.raises(error) as caught:
        imports.keep(Store(tmp_path), POINT, "toy-point-v1", [change(replace(history, terminated=ended))])
    assert words in caught.value.message
    assert Store(tmp_path).names(imports.KIND) == []
