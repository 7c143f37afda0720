"""The episodes of a Minari data set: a `metadata.json`, and one HDF5 file with a group an episode.

Minari's own reader takes a data set for trusted: where `metadata.json` says no spaces it makes the environment that is named
there, and Gymnasium then imports and calls any function whose name stands in it. So nothing of that file is taken but plain
values. In HDF5 a data set may also lie in other files, and have a shape of which nothing is stored; both are refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icrl_bench.artefacts.formats.allowance import Allowance
from icrl_bench.artefacts.histories import OPTIONAL_COLUMNS
from icrl_registry.contracts import Array
from icrl_registry.errors import UsageError

OURS = "icrl_bench"  # what our own data sets say of themselves in `metadata.json`
#: What h5py and our reading raise for a file that is malformed.
MALFORMED = (ValueError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError, RecursionError)
_FILE, _METADATA = "main_data.hdf5", "metadata.json"
_LARGEST_METADATA = 32 * 2**20  # bytes
_LARGEST_ATTRIBUTE = 2**16  # bytes
_ABOUT = ("task", "stream", "split", "index", "task_parameters")


@dataclass(frozen=True)
class ForeignEpisode:
    """One episode: its columns (T, …), and what is said of it."""

    columns: dict[str, Array]
    about: dict[str, Any]  # of `task`, `stream`, `split`, `index` and `task_parameters` those that are there


def read(place: Path) -> tuple[dict[str, Any], Iterator[ForeignEpisode]]:
    """What the data set in the folder `place` says of itself to us, and its episodes, in their order.

    Raises:
        UsageError: h5py is not installed, or the file asks for more memory than it may.
        OSError, KeyError, and what is in `MALFORMED`: it is no data set of arrays; with the episodes as well.
    """
    h5py = _import_h5py()
    metadata = _read_metadata(place / _METADATA)
    if (kept_as := metadata.get("data_format", "hdf5")) != "hdf5":
        raise ValueError(f"its episodes are kept as {str(kept_as)[:40]!r}, not as hdf5")
    ours = json.loads(metadata.get(OURS, "{}"))
    return dict(ours), _episodes(h5py, place / _FILE, int(metadata["total_episodes"]), _choices(metadata))


def _read_metadata(path: Path) -> dict[str, Any]:
    with path.open("rb") as handle:
        text = handle.read(_LARGEST_METADATA + 1)
    if len(text) > _LARGEST_METADATA:
        raise ValueError(f"{path} is larger than {_LARGEST_METADATA:,} bytes")
    return dict(json.loads(text))


def _choices(metadata: dict[str, Any]) -> range | None:
    """The numbers of discrete actions, if they are that."""
    if "action_space" not in metadata:
        return None
    space = json.loads(metadata["action_space"])
    if space["type"] != "Discrete":
        return None
    start = int(space.get("start", 0))
    return range(start, start + int(space["n"]))


def _episodes(h5py: Any, path: Path, number: int, choices: range | None) -> Iterator[ForeignEpisode]:
    allowance = Allowance(path)
    with h5py.File(path, "r") as file:
        for index in range(number):
            group = _child(h5py, file, f"episode_{index}", h5py.Group)
            yield ForeignEpisode(_columns(h5py, group, choices, allowance), _about(group))


def _columns(h5py: Any, group: Any, choices: range | None, allowance: Allowance) -> dict[str, Array]:
    observations = _array(h5py, group, "observations", allowance)
    actions = _array(h5py, group, "actions", allowance)
    if choices is not None:
        actions = _one_hot(actions, choices, allowance)
    columns = {
        "observations": observations[:-1],
        "next_observations": observations[1:],
        "actions": actions,
        "rewards": _array(h5py, group, "rewards", allowance),
        "terminated": _array(h5py, group, "terminations", allowance),
        "truncated": _array(h5py, group, "truncations", allowance),
    }
    if "infos" in group:
        infos = _child(h5py, group, "infos", h5py.Group)
        for name in OPTIONAL_COLUMNS:
            if name in infos:
                columns[name] = _array(h5py, infos, name, allowance)
    return columns


def _array(h5py: Any, group: Any, name: str, allowance: Allowance) -> Array:
    dataset = _child(h5py, group, name, h5py.Dataset)
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{dataset.name} lies in other files")
    if dataset.dtype.kind not in "biuf" or dataset.shape is None:
        raise ValueError(
            f"{dataset.name} holds {dataset.dtype}, no numbers: only Box and Discrete spaces can be imported"
        )
    allowance.take(math.prod(dataset.shape) * dataset.dtype.itemsize)
    return np.asarray(dataset[()])


def _child(h5py: Any, group: Any, name: str, kind: type) -> Any:
    """A member of a group that lies in the group's own file."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{group.name} has a link in place of {name}")
    child = group[name]
    if not isinstance(child, kind):
        raise ValueError(f"{child.name} is no {kind.__name__.lower()}: only Box and Discrete spaces can be imported")
    return child


def _about(group: Any) -> dict[str, Any]:
    """The attributes that are ours."""
    found = {}
    for name in _ABOUT:
        if name in group.attrs:
            attribute = group.attrs.get_id(name)
            if math.prod(attribute.shape) * attribute.dtype.itemsize > _LARGEST_ATTRIBUTE:
                raise ValueError(f"the attribute {name} of {group.name} is too large")
            found[name] = group.attrs[name]
    return found


def _one_hot(numbers: Array, choices: range, allowance: Allowance) -> Array:
    """Discrete actions as a history has them: (T,) → (T, A)."""
    allowance.take(5 * max(1, numbers.size) * len(choices))  # a byte of the comparison, four of a float
    rows: Array = (numbers[:, None] == np.arange(choices.start, choices.stop)).astype(np.float32)
    return rows


def _import_h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise UsageError(f"Minari data sets need h5py: {error}", 'pip install "icrl-bench[minari]"') from error
    return h5py
