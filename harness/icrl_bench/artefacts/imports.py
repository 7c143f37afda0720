"""Data that others collected: read from their files, checked as a source's histories are, kept under a hash of its content.

An imported data set is one artefact of the kind `imports`: a safetensors file for each task, and a manifest that lists
them. Its name is a hash of what the histories hold and of which tasks they are, so the same data has one name on every
machine and in every format it travelled in. The source `imported` reads it (`icrl_plugins/sources/imported.py`): there the
hash is a setting, and so part of the address of all that is made from the data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from icrl_bench.artefacts.formats import apart, minari, npz, safetensors_folder
from icrl_bench.artefacts.formats.arrays import FORMAT_HINT, ForeignHistory, columns_of, number_tasks, one_environment
from icrl_bench.artefacts.histories import check_history
from icrl_bench.artefacts.store import ADDRESS_LENGTH, MANIFEST, Store
from icrl_bench.artefacts.tensors import encode_tensors
from icrl_registry.contracts import Environment, LearningHistory
from icrl_registry.errors import UsageError

KIND = "imports"
FORMATS = ("minari", "npz", "safetensors")
SOURCE, WITH_EXPERTS = "imported", "imported-experts"  # that read such data


@dataclass(frozen=True)
class ForeignData:
    """What files hold, before it is known to fit an environment."""

    environment: str  # as the files, or the user, name it
    histories: list[LearningHistory]


def read_files(
    paths: Sequence[str | Path], environment: str | None = None, task: tuple[float, ...] | None = None
) -> ForeignData:
    """The histories in files and folders of any format, one a task.

    Args:
        paths: `.npz` and `.safetensors` files, folders of them, folders of Minari data sets, or ids of local ones.
        environment: whose tasks they are, where the files do not say it.
        task: the parameters of the task (P,), where the files do not say them and hold one history.

    Raises:
        UsageError: a file cannot be read, or does not say what it must.
    """
    return assemble([each for path in paths for each in _read(path)], environment, task)


def assemble(
    found: Sequence[ForeignHistory], environment: str | None = None, task: tuple[float, ...] | None = None
) -> ForeignData:
    """What was read, with its environment known and its tasks numbered; arguments and errors as `read_files` has them."""
    if not found:
        raise UsageError("there are no histories in the files", FORMAT_HINT)
    if task is not None:
        silent = [each for each in found if each.parameters is None]
        if len(silent) != 1:
            raise UsageError(f"--task is for one history without a task; there are {len(silent)}", FORMAT_HINT)
        found = [replace(each, parameters=task) if each is silent[0] else each for each in found]
    return ForeignData(one_environment(found, environment), number_tasks(found))


def keep(store: Store, environment: Environment, environment_id: str, histories: Sequence[LearningHistory]) -> str:
    """Keeps the histories as an imported data set, unless it is there; returns the hash of its content.

    Raises:
        UsageError: they are of another environment. PluginError, NumericalError: they break the contract of a history.
    """
    for history in histories:
        check_history(history)
        _check_fit(history, environment)
    content = content_hash(environment_id, histories)
    files = {f"{history.task.label}.safetensors": history for history in histories}
    about = {
        "content": content,
        "environment": environment_id,
        "histories": [describe(history, name) for name, history in files.items()],
    }
    with store.lock(KIND, content):
        if not store.exists(KIND, content):
            with store.write(KIND, content, about) as folder:
                for name, history in files.items():
                    (folder / name).write_bytes(safetensors_folder.encode(history, environment_id))
    return content


def write_files(
    histories: Sequence[LearningHistory], environment_id: str, folder: Path, file_format: str, name: str
) -> None:
    """Writes histories for other programs; as `safetensors` the folder is one that the source `imported` reads as it is.

    `name` is what a Minari data set is called.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if file_format == "npz":
        npz.write(histories, environment_id, folder)
    elif file_format == "minari":
        minari.write(histories, environment_id, folder, name)
    else:
        safetensors_folder.write(histories, environment_id, folder)
        entries = [describe(history, f"{history.task.label}.safetensors") for history in histories]
        files = {entry["file"]: hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest() for entry in entries}
        about = {"content": content_hash(environment_id, histories), "environment": environment_id}
        document = {**about, "histories": entries, "files": files}
        (folder / MANIFEST).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def source_of(place: str) -> str:
    """The source that reads the imported data in a folder, or in `PACKAGE:FOLDER`: by whether they say what experts do."""
    from importlib.util import find_spec

    folder, (package, _, inside) = Path(place).expanduser(), place.partition(":")
    if not folder.is_dir() and package.isidentifier() and (spec := find_spec(package)) is not None:
        folder = Path((spec.submodule_search_locations or [place])[0]) / inside
    try:
        entries = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["histories"]
        return WITH_EXPERTS if any(entry.get("experts") for entry in entries) else SOURCE
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return SOURCE  # which says what is wrong with the folder


def content_hash(environment_id: str, histories: Sequence[LearningHistory]) -> str:
    """16 hexadecimal digits of a hash of the environment, the tasks and every number in the histories, in any order."""
    digests = sorted(
        [list(history.task.parameters), hashlib.sha256(encode_tensors(columns_of(history))).hexdigest()]
        for history in histories
    )
    document = json.dumps({"environment": environment_id, "histories": digests}, sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:ADDRESS_LENGTH]


def describe(history: LearningHistory, file: str) -> dict[str, Any]:
    """What a data set's manifest says of one history."""
    task = history.task
    return {
        "file": file,
        "parameters": list(task.parameters),
        "split": task.split,
        "index": task.index,
        "steps": history.num_steps,
        "streams": history.num_streams,
        **({"experts": True} if history.expert_actions is not None else {}),
    }


def _read(path: str | Path) -> list[ForeignHistory]:
    place = Path(path)
    if place.is_dir():
        if (place / "data" / "metadata.json").is_file() or (place / "metadata.json").is_file():
            return apart.read(place)
        files = sorted([*place.glob("*.npz"), *place.glob("*.safetensors")])
        files = files or [found.parent.parent for found in sorted(place.glob("**/data/metadata.json"))]
        if not files:
            raise UsageError(f"{place} holds no .npz, no .safetensors and no Minari data set", FORMAT_HINT)
        return [each for file in files for each in _read(file)]
    if place.suffix == ".npz" and place.exists():
        return [npz.read(place)]
    if place.suffix == ".safetensors" and place.exists():
        return [safetensors_folder.read(place)]
    if place.exists():
        raise UsageError(f"{place} is of no known format", FORMAT_HINT)
    return apart.read(_local_minari(str(path)))


def _local_minari(name: str) -> Path:
    """The folder of a Minari data set by its id, such as `D4RL/pointmaze/open-v2`, among those on this machine."""
    from importlib.util import find_spec

    if find_spec("minari") is not None:
        from minari.storage import get_dataset_path

        place = Path(get_dataset_path(name))
        if place.is_dir():
            return place
    raise UsageError(
        f"there is no file, folder or local Minari data set {name}", "give a path, or `minari download ID` first"
    )


def _check_experts(history: LearningHistory) -> None:
    """An expert knows the task: what it does follows from the observation alone."""
    if history.expert_actions is None:
        return
    seen = history.observations.reshape(-1, history.observations.shape[-1])
    told = history.expert_actions.reshape(len(seen), -1)
    _, first, which = np.unique(seen, axis=0, return_index=True, return_inverse=True)
    other = np.flatnonzero((told != told[first][which.reshape(-1)]).any(axis=-1))
    if len(other):
        step, before = int(other[0]), int(first[which.reshape(-1)[other[0]]])
        raise UsageError(
            f"{history.task.label}: expert_actions {told[before]} and {told[step]} for one observation, {seen[step]}",
            "an expert's action is a function of the observation: take one policy's, without exploration",
        )


def _check_fit(history: LearningHistory, environment: Environment) -> None:
    spec, label = environment.spec, history.task.label
    sizes = {"observations": spec.observation_size, "actions": spec.action_size}
    for name, size in sizes.items():
        found = getattr(history, name).shape[-1]
        if found != size:
            raise UsageError(f"{label}: {name} of size {found}, {spec.id} has {size}", "name another --env")
    for actions in (history.actions, history.expert_actions):
        if actions is None or spec.actions == "continuous":
            continue
        if not (((actions == 0) | (actions == 1)).all() and (actions.sum(axis=-1) == 1).all()):
            raise UsageError(f"{label}: {spec.id} has discrete actions, and the file's are not one-hot", FORMAT_HINT)
    _check_experts(history)
    names = environment.task_parameter_names
    if len(history.task.parameters) != len(names):
        raise UsageError(
            f"{label}: {len(history.task.parameters)} task parameters, {spec.id} has {len(names)}: {', '.join(names)}",
            "give all of them, in that order",
        )
    lengths = [end - start for stream in range(history.num_streams) for start, end in history.episode_bounds(stream)]
    if lengths and int(np.max(lengths)) > spec.horizon:
        raise UsageError(
            f"{label}: an episode of {max(lengths)} steps, {spec.id} ends them after {spec.horizon}",
            "mark `truncated` where the time limit cut",
        )
