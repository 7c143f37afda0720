"""Learning histories that were collected elsewhere: the source that reads them instead of training anything.

The data lie in a folder: a `manifest.json` that lists one safetensors file a task, each with its checksum, as
`icrl-bench data import` and `icrl-bench data export --format safetensors` write it. Which data it is, is said by a hash of
their content, which is the one setting that enters addresses and rows; where they lie is not part of a result.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from icrl_registry.actions import ActionKind
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import CheckpointStore, Environment, LearningHistory, Source, SourceRun, Task
from icrl_registry.errors import DamagedArtefactError, UsageError

DECIMALS = 6  # to which protocols round task parameters
MANIFEST = "manifest.json"
COLUMNS = ("observations", "actions", "rewards", "next_observations", "terminated", "truncated", "policy_means")


class ImportedConfig(ComponentConfig):
    """Which data, and where they lie."""

    content: str = Field(
        "", pattern="^([0-9a-f]{16})?$", description="hash of the data's content, as `icrl-bench data import` prints it"
    )
    path: str = Field(
        "",
        exclude=True,  # where the data lie is no part of what they are: neither of an address nor of a row
        description="folder of the data, or PACKAGE:FOLDER of an installed package; else `imports` in the home folder",
    )

    @model_validator(mode="before")
    @classmethod
    def _content_of_the_path(cls, given: Any) -> Any:
        """Takes the content from the folder where only that is given, and holds the folder to it where both are."""
        if not isinstance(given, dict) or not given.get("path"):
            return given
        found = read_manifest(folder_of(str(given["path"]))).content
        if given.get("content") not in (None, "", found):
            raise ValueError(f"{given['path']} holds the data {found}, not {given['content']}")
        return {**given, "content": found}


class Imported(Source):
    """Yields the imported history of each task; a task that the data lack is an error that names it.

    No seed and no environment enter: every history is as it was recorded. Its last tenth is the oracle's score, as that of
    any source. There is no policy to label actions with.
    """

    Config = ImportedConfig
    is_recorded: ClassVar[bool] = True
    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous", "discrete")

    def __init__(self, config: ImportedConfig) -> None:
        self.config: ImportedConfig = config

    def collect(
        self,
        environment: Environment,
        tasks: Sequence[Task],
        seeds: Sequence[np.random.SeedSequence],
        report_steps: Callable[[int], None],
        checkpoints: CheckpointStore | None = None,
    ) -> Iterator[SourceRun]:
        folder, data = self._open()
        if data.environment != environment.spec.id:
            raise UsageError(
                f"the data {data.content} are of {data.environment}, not of {environment.spec.id}",
                f"--env {data.environment}, or another --source",
            )
        for task in tasks:
            history = _read(folder, data.entry_of(task), task)
            report_steps(history.num_steps)
            yield SourceRun(history, {})

    def total_steps(self) -> int:
        """The steps of the longest history."""
        return max(int(entry["steps"]) for entry in self._open()[1].entries)

    def _open(self) -> tuple[Path, DataManifest]:
        content = self.config.content
        if not content:
            raise UsageError("the source imported needs data", "`icrl-bench data import FILE…` says what to type")
        folder = folder_of(self.config.path) if self.config.path else _home() / "imports" / content
        if not (folder / MANIFEST).is_file():
            raise UsageError(
                f"the imported data {content} are not in {folder}",
                "`icrl-bench data import FILE…` brings them, or say where they are with --set source.path=FOLDER",
            )
        try:
            data = read_manifest(folder)
        except ValueError as error:
            raise UsageError(str(error), "`icrl-bench data import FILE…` writes such a folder") from error
        if data.content != content:
            raise UsageError(f"{folder} holds the data {data.content}, not {content}", "name another folder")
        return folder, data


@dataclass(frozen=True)
class DataManifest:
    """What a folder of imported data says of itself."""

    content: str
    environment: str
    entries: tuple[dict[str, Any], ...]  # file, sha256, parameters, split, index, steps, streams

    def entry_of(self, task: Task) -> dict[str, Any]:
        """The history of the task with these parameters, wherever it stands among the splits.

        Raises:
            UsageError: there is none.
        """
        wanted = _rounded(task.parameters)
        for entry in self.entries:
            if _rounded(entry["parameters"]) == wanted:
                return entry
        raise UsageError(
            f"the data {self.content} lack {task.label}, {wanted}: they hold {len(self.entries)} other tasks",
            "take a protocol whose tasks they are: `icrl-bench data import --protocol NAME` says how many it finds",
        )


def folder_of(path: str) -> Path:
    """A folder, or `PACKAGE:FOLDER`: one that an installed package brings along, which is found without importing it.

    Raises:
        ValueError: there is no such package.
    """
    package, colon, inside = path.partition(":")
    if not colon or not package.isidentifier() or Path(path).exists():
        return Path(path).expanduser()
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"there is no package {package}")
    return Path(spec.submodule_search_locations[0]) / inside


def read_manifest(folder: Path) -> DataManifest:
    """What a folder of imported data holds.

    Raises:
        ValueError: it has no manifest, or one of something else.
    """
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        entries = tuple(_entry(about, document["files"]) for about in document["histories"])
        if not entries:
            raise ValueError("it names no history")
        return DataManifest(str(document["content"]), str(document["environment"]), entries)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{folder} holds no imported data ({type(error).__name__}: {error})") from error


def _entry(about: dict[str, Any], files: dict[str, str]) -> dict[str, Any]:
    """What is said of one history, with the types that it must have."""
    if not isinstance(about["parameters"], list):
        raise TypeError("the parameters of a task are no list")
    parameters = [float(value) for value in about["parameters"]]
    return {**about, "sha256": files[about["file"]], "parameters": parameters, "steps": int(about["steps"])}


def _read(folder: Path, entry: dict[str, Any], task: Task) -> LearningHistory:
    from safetensors.numpy import load

    path = folder / Path(str(entry["file"])).name
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise ValueError("it differs from its checksum")
        columns = load(content)
        return LearningHistory(task, **{name: columns[name] for name in COLUMNS if name in columns})
    except (OSError, ValueError, TypeError) as error:
        raise DamagedArtefactError(
            f"cannot read {path}: {error}", "import the data again, or copy the folder"
        ) from error


def _rounded(parameters: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(float(value), DECIMALS) + 0.0 for value in parameters)


def _home() -> Path:
    """The home folder of the command line: `ICRL_BENCH_HOME`, or the per-user data directory."""
    chosen = os.environ.get("ICRL_BENCH_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("icrl-bench", appauthor=False)
