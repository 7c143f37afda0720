"""Minari data sets (Farama's format for offline RL): written through the package `minari`, an optional extra, read without it.

Minari keeps episodes, the benchmark keeps whole learning histories: streams of steps in the order in which they were taken.
So an exported data set says of each episode its task and its stream, in the episode's metadata, and keeps the order; what
the last episode of a stream lacks to its end stays lacking. A data set by others, whose episodes say nothing, is read as
one stream of one task.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from icrl_bench.artefacts.formats import hdf5_episodes
from icrl_bench.artefacts.formats.arrays import FORMAT_HINT, ForeignHistory, convert_columns, task_fields
from icrl_bench.artefacts.formats.hdf5_episodes import ForeignEpisode
from icrl_bench.artefacts.histories import OPTIONAL_COLUMNS
from icrl_registry.contracts import Array, LearningHistory
from icrl_registry.errors import UsageError, refused_by_the_machine

NAMESPACE = "icrl-bench"


def write(histories: Iterable[LearningHistory], environment: str, folder: Path, name: str) -> list[Path]:
    """The data set `icrl-bench/NAME-v0` below `folder`, which `MINARI_DATASETS_PATH` may then name.

    Raises:
        UsageError: minari is not installed, or a history's successors are not its next observations.
    """
    minari = _import_minari()
    histories = list(histories)
    dataset_id = f"{NAMESPACE}/{re.sub(r'[^A-Za-z0-9_-]', '-', name)}-v0"
    place = folder / dataset_id / "data"
    place.mkdir(parents=True)
    (folder / NAMESPACE / "namespace_metadata.json").write_text('{"description": "learning histories"}\n')
    storage = minari.dataset.minari_storage.MinariStorage.new(
        place, observation_space=_box(histories, "observations"), action_space=_box(histories, "actions")
    )
    storage.update_metadata(
        {
            "dataset_id": dataset_id,
            "minari_version": minari.__version__,
            hdf5_episodes.OURS: json.dumps({"environment": environment}),
        }
    )
    episodes = [episode for history in histories for episode in _episodes(history)]
    buffer = minari.data_collector.EpisodeBuffer
    storage.update_episodes(buffer(id=number, **arrays) for number, (arrays, _) in enumerate(episodes))
    storage.update_episode_metadata(about for _, about in episodes)
    return [place]


def read(path: Path) -> list[ForeignHistory]:
    """The histories of one data set: its folder, or the `data` folder in it.

    Raises:
        UsageError: h5py is not installed, or it is no data set of arrays.
    """
    place = path / "data" if (path / "data").is_dir() else path
    try:
        about, episodes = hdf5_episodes.read(place)
        environment = about.get("environment")
        if environment is not None and not isinstance(environment, str):
            raise ValueError(f"the environment that it names is {str(environment)[:40]!r}, no text")
        groups: dict[tuple[str, int], list[ForeignEpisode]] = {}
        tasks: dict[str, dict[str, Any]] = {}
        for episode in episodes:
            label = str(episode.about.get("task", ""))
            tasks.setdefault(label, episode.about)
            groups.setdefault((label, int(episode.about.get("stream", 0))), []).append(episode)
        return [
            _history(f"{path}{f', {label}' if label else ''}", said, label, groups, environment)
            for label, said in tasks.items()
        ]
    except (OSError, MemoryError, KeyError, *hdf5_episodes.MALFORMED) as error:
        if isinstance(error, OSError) and (refusal := refused_by_the_machine(error, place)):
            raise refusal from error
        raise UsageError(f"cannot read the Minari data set {path}: {error}", FORMAT_HINT) from error


def _history(
    where: str,
    said: dict[str, Any],
    label: str,
    groups: dict[tuple[str, int], list[ForeignEpisode]],
    environment: str | None,
) -> ForeignHistory:
    """One task's streams side by side."""
    streams = [_stream(groups[key]) for key in sorted(groups) if key[0] == label]
    lengths = {len(stream["rewards"]) for stream in streams}
    if len(lengths) > 1:
        raise UsageError(f"{where}: streams of {sorted(lengths)} steps", "all streams of a task are equally long")
    columns = {name: np.stack([stream[name] for stream in streams]) for name in streams[0]}
    fields = task_fields(where, said.get("task_parameters"), said.get("split"), said.get("index"))
    return ForeignHistory(where, convert_columns(columns, where), environment=environment, **fields)


def _stream(episodes: list[ForeignEpisode]) -> dict[str, Array]:
    """Episodes, end to end, as columns (T, …)."""
    parts: dict[str, list[Array]] = {}
    for episode in episodes:
        for name, array in episode.columns.items():
            parts.setdefault(name, []).append(array)
    return {name: np.concatenate(arrays) for name, arrays in parts.items() if len(arrays) == len(episodes)}


def _episodes(history: LearningHistory) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every episode as Minari's columns and metadata, a last unfinished one included, stream by stream."""
    task, steps = history.task, history.rewards.shape[1]
    about = {"task": task.label, "split": task.split, "index": task.index}
    about["task_parameters"] = np.asarray(task.parameters, dtype=np.float64)
    for stream in range(history.num_streams):
        bounds = history.episode_bounds(stream)
        end = bounds[-1][1] if bounds else 0
        for first, last in [*bounds, *([(end, steps)] if end < steps else [])]:
            now = slice(first, last)
            observations, following = history.observations[stream, now], history.next_observations[stream, now]
            if not np.array_equal(observations[1:], following[:-1]):
                raise UsageError(
                    f"{task.label}, stream {stream}, steps {first} to {last}: successors differ from next observations",
                    "Minari keeps one of them alone; export as npz",
                )
            arrays: dict[str, Any] = {
                "observations": np.concatenate([observations, following[-1:]]),
                "actions": np.array(history.actions[stream, now]),
                "rewards": np.array(history.rewards[stream, now]),
                "terminations": np.array(history.terminated[stream, now]),
                "truncations": np.array(history.truncated[stream, now]),
            }
            further = {name: getattr(history, name) for name in OPTIONAL_COLUMNS}
            if any(array is not None for array in further.values()):
                arrays["infos"] = {
                    name: np.array(array[stream, now]) for name, array in further.items() if array is not None
                }
            yield arrays, {**about, "stream": stream}


def _box(histories: list[LearningHistory], column: str) -> Any:
    from gymnasium.spaces import Box

    size = getattr(histories[0], column).shape[-1]
    limit = 1.0 if column == "actions" else np.inf
    return Box(-limit, limit, (size,), np.float32)


def _import_minari() -> Any:
    try:
        import h5py  # noqa: F401
        import minari
        import minari.data_collector
        import minari.dataset.minari_storage
    except ImportError as error:
        raise UsageError(
            f"Minari data sets need the package minari: {error}", 'pip install "icrl-bench[minari]"'
        ) from error
    return minari
