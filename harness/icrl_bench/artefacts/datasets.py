"""Looking at collected data sets: summaries, checks and the picture of every task's learning curve."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icrl_bench.artefacts.checkpoints import PROGRESS_KIND, read_progress
from icrl_bench.artefacts.histories import dataset_kind, learning_curve, load_history, load_policy
from icrl_bench.artefacts.store import Store, write_file
from icrl_registry.contracts import LearningHistory, Task
from icrl_registry.discovery import Plugin, load
from icrl_registry.errors import BenchError, DamagedArtefactError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAN_FILE = "dataset.json"
SECONDS_FILE = "seconds.txt"
TICK_EVERY = 10.0  # seconds; what a kill loses of the wall-clock

Damage = tuple[str, str, list[str]]  # kind, name, problems


@dataclass(frozen=True)
class Dataset:
    """One data set in a store: what was planned and what is there."""

    store: Store
    address: str

    @cached_property
    def about(self) -> dict[str, Any]:
        """What was written when collecting began."""
        path = self.store.path("datasets", self.address) / PLAN_FILE
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise DamagedArtefactError(
                f"cannot read {path}: {error}", "the `icrl-bench run` command that collects this data writes it again"
            ) from error

    def describe(self, about: dict[str, Any]) -> None:
        """Writes what the data set is, for `icrl-bench data`, unless it is there; again if the file was damaged."""
        path = self.store.path("datasets", self.address) / PLAN_FILE
        if not _is_json(path):
            write_file(path, (json.dumps(about, indent=1, sort_keys=True) + "\n").encode())

    @property
    def seconds(self) -> float:
        """The wall-clock that collecting has taken so far."""
        return WallClock(self.store, self.address).seconds

    def history(self, task: Task) -> LearningHistory:
        """A task's history, memory-mapped.

        Raises:
            DamagedArtefactError: it is missing or damaged.
        """
        return load_history(self.store, self.address, task)

    def manifest(self, task: Task) -> dict[str, Any]:
        """What was said of a task's history when it was written: steps, first and last returns, statistics."""
        return self.store.manifest(dataset_kind(self.address), task.label)

    @property
    def tasks(self) -> list[Task]:
        """The tasks whose histories are there."""
        kind = dataset_kind(self.address)
        manifests = [
            self.store.manifest(kind, label) for label in self.about["labels"] if self.store.exists(kind, label)
        ]
        entries = [manifest["task"] for manifest in manifests]
        return [Task(tuple(entry["parameters"]), entry["split"], entry["index"]) for entry in entries]

    def summary(self) -> dict[str, Any]:
        """One line of `data list`."""
        folder = self.store.path("datasets", self.address)
        manifests = [self.manifest(task) for task in self.tasks]
        return {
            "address": self.address,
            "environment": self.about["environment"],
            "source": self.about["source"],
            "protocol": self.about["protocol"],
            "tasks": len(self.about["labels"]),
            "tasks_done": len(manifests),
            "env_steps": sum(manifest["steps"] for manifest in manifests),
            "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        }

    def histories(self) -> list[dict[str, Any]]:
        """One line per task of `data show`."""
        rows = []
        for task in self.tasks:
            manifest = self.manifest(task)
            rows.append(
                {
                    "task": task.label,
                    "parameters": list(task.parameters),
                    "streams": manifest["streams"],
                    "episodes": manifest["episodes"],
                    "initial_return": manifest["initial_return"],
                    "final_return": manifest["final_return"],
                    "greedy_return": manifest["statistics"].get("greedy_return"),
                    "improved": has_improved(manifest),
                    "seconds": manifest["seconds"],
                }
            )
        return rows


def labelled_by_experts(dataset: Dataset, histories: Sequence[LearningHistory]) -> list[LearningHistory]:
    """The histories with `expert_actions`: what the source's final policy on each task does in the observations, greedily.

    Raises:
        UsageError: the source cannot give its policies back. PluginError: it is not installed, or broken.
    """
    about = dataset.about
    source = _as_it_was(load("source", about["source"]), about["source_config"])
    spec = _as_it_was(load("environment", about["environment"]), about["environment_config"]).spec
    labelled = []
    for history in histories:
        policy = source.greedy_policy(load_policy(dataset.store, dataset.address, history.task), spec)
        if policy is None:
            raise UsageError(
                f"the source {about['source']} cannot give its final policies back", "export without --experts"
            )
        seen = np.asarray(history.observations).reshape(-1, spec.observation_size)
        actions = np.asarray(policy(seen), dtype=np.float32).reshape(history.actions.shape)
        labelled.append(replace(history, expert_actions=actions))
    return labelled


def _as_it_was(plugin: Plugin, config: dict[str, Any]) -> Any:
    """A component with the settings that a data set was collected with."""
    try:
        return plugin.component(plugin.component.Config.model_validate(config))
    except ValueError as error:
        raise UsageError(
            f"{plugin.entry.name} no longer takes the settings of this data set: {error}", "export without --experts"
        ) from error


class WallClock:
    """Seconds that collecting a data set has taken, over interrupted and resumed calls, kept beside it."""

    def __init__(self, store: Store, address: str) -> None:
        self.path = store.path("datasets", address) / SECONDS_FILE
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """As last kept."""
        try:
            return float(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0.0

    def tick(self, every: float = TICK_EVERY) -> None:
        """Adds the time since the last tick, if it is more than `every` seconds."""
        now = time.monotonic()
        if now - self._since >= every:
            write_file(self.path, f"{self.seconds + now - self._since:.3f}\n".encode())
            self._since = now


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError, RecursionError):
        return False


def has_improved(manifest: dict[str, Any]) -> bool:
    """Whether the last tenth of a history's episodes returned more than the first."""
    first, last = manifest["initial_return"], manifest["final_return"]
    return first is not None and last is not None and last > first


def list_datasets(store: Store) -> list[Dataset]:
    """All data sets of a store, by address."""
    folder = store.root / "datasets"
    return [Dataset(store, path.parent.name) for path in sorted(folder.glob(f"[!.]*/{PLAN_FILE}"))]


def find_damage(store: Store, kinds: Sequence[str]) -> tuple[int, list[Damage]]:
    """Compares all artefacts of the kinds with their checksums: how many there are, and the damaged ones."""
    found = [(kind, name, store.problems(kind, name)) for kind in kinds for name in store.names(kind)]
    if PROGRESS_KIND in kinds:
        found += [(PROGRESS_KIND, path.name, _progress_problems(path)) for path in _progress_files(store)]
    return len(found), [(kind, name, problems) for kind, name, problems in found if problems]


def _progress_files(store: Store) -> list[Path]:
    return sorted((store.root / PROGRESS_KIND).glob("[!.]*.safetensors"))


def _progress_problems(path: Path) -> list[str]:
    try:
        read_progress(path)
    except DamagedArtefactError as error:
        return [error.message]
    return []


def plot_learning_curves(datasets: Sequence[Dataset], out: Path) -> list[str]:
    """One small panel per task: return against training progress. Returns the labels of histories that did not improve."""
    from icrl_leaderboards.drawing import drawing_style, require_format, save

    require_format(out)
    panels = [(dataset, task) for dataset in datasets for task in dataset.tasks]
    if not panels:
        raise BenchError("there are no histories to plot", "`icrl-bench run` collects them")
    with drawing_style():
        figure, flagged = _draw_panels(panels, sharey=len(datasets) == 1)
        names = "; ".join(f"{dataset.about['environment']}, {dataset.about['source']}" for dataset in datasets)
        figure.suptitle(f"{names}: mean episode return over the streams", fontsize=10)
        figure.supxlabel("training progress (%)", fontsize=8)
        save(figure, out)
    return flagged


def _draw_panels(panels: Sequence[tuple[Dataset, Task]], sharey: bool) -> tuple[Figure, list[str]]:
    from matplotlib.figure import Figure

    from icrl_leaderboards.drawing import COLOURS

    columns = min(10, max(4, math.ceil(math.sqrt(len(panels)))))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(1.7 * columns, 1.35 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=sharey, squeeze=False).flatten()
    flagged = []
    for axis, (dataset, task) in zip(axes, panels, strict=False):
        improved = has_improved(dataset.manifest(task))
        curve = learning_curve(dataset.history(task))
        progress = [(i + 0.5) / len(curve) * 100 for i in range(len(curve))]
        axis.plot(progress, curve, color=COLOURS[0 if improved else 1][0])
        axis.set_title(task.label + ("" if improved else " (did not improve)"), fontsize=7, pad=2)
        axis.tick_params(labelsize=6)
        if not improved:
            flagged.append(f"{dataset.address}/{task.label}")
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    return figure, flagged
