"""Looking at collected data sets: summaries, checks and the picture of every task's learning curve."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from icrl_bench.checkpoints import PROGRESS_KIND, read_progress
from icrl_bench.histories import dataset_kind, learning_curve, load_history
from icrl_bench.stages.collect import PLAN_FILE
from icrl_bench.store import Store
from icrl_registry.contracts import Task
from icrl_registry.errors import BenchError, DamagedArtefactError, UsageError

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
        manifests = [self.store.manifest(dataset_kind(self.address), task.label) for task in self.tasks]
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
            manifest = self.store.manifest(dataset_kind(self.address), task.label)
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


def has_improved(manifest: dict[str, Any]) -> bool:
    """Whether the last tenth of a history's episodes returned more than the first."""
    first, last = manifest["initial_return"], manifest["final_return"]
    return first is not None and last is not None and last > first


def list_datasets(store: Store) -> list[Dataset]:
    """All data sets of a store, by address."""
    folder = store.root / "datasets"
    return [Dataset(store, path.parent.name) for path in sorted(folder.glob(f"*/{PLAN_FILE}"))]


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
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    panels = [(dataset, task) for dataset in datasets for task in dataset.tasks]
    if not panels:
        raise BenchError("there are no histories to plot", "`icrl-bench run` collects them")
    columns = min(10, max(4, math.ceil(math.sqrt(len(panels)))))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(1.7 * columns, 1.35 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=len(datasets) == 1, squeeze=False).flatten()
    flagged = []
    for axis, (dataset, task) in zip(axes, panels, strict=False):
        improved = has_improved(dataset.store.manifest(dataset_kind(dataset.address), task.label))
        curve = learning_curve(load_history(dataset.store, dataset.address, task))
        axis.plot(
            [(i + 0.5) / len(curve) * 100 for i in range(len(curve))], curve, color="#0072B2" if improved else "#D55E00"
        )
        axis.set_title(task.label + ("" if improved else " (did not improve)"), fontsize=7, pad=2)
        axis.tick_params(labelsize=6)
        if not improved:
            flagged.append(f"{dataset.address}/{task.label}")
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    names = "; ".join(f"{dataset.about['environment']}, {dataset.about['source']}" for dataset in datasets)
    figure.suptitle(f"{names}: mean episode return over the streams", fontsize=10)
    figure.supxlabel("training progress (%)", fontsize=8)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=130)
    except (OSError, ValueError, TypeError, RecursionError) as error:  # no such format is a ValueError
        raise UsageError(
            f"cannot write {out}: {error}", "give --out a writable path that ends in .png or .svg"
        ) from error
    return flagged
