"""Speeds of the stages that a home holds already: of its data sets, checkpoints and adaptations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from icrl_bench.artefacts.checkpoints import KIND as CHECKPOINTS
from icrl_bench.artefacts.datasets import list_datasets
from icrl_bench.artefacts.store import Store
from icrl_bench.runs.durations.speeds import Speed, Subject, costly_settings
from icrl_bench.stages.adapt import FILE as RETURNS
from icrl_bench.stages.adapt import Adapt
from icrl_registry.errors import BenchError

#: Adaptations that are read at most, the newest: each holds the returns of all its episodes.
MOST_READ = 200
#: Of less work, or less time, no speed is known.
LEAST_SECONDS = 0.05


def own_speeds(store: Store) -> list[Speed]:
    """What the home's own stages took. A damaged artefact says nothing; whoever needs it is told of it."""
    trained = {}
    for name in store.names(CHECKPOINTS):
        with suppress(BenchError):
            trained[name] = store.manifest(CHECKPOINTS, name)
    return [*_collected(store), *_trained(trained.values()), *_adapted(store, trained)]


def _collected(store: Store) -> Iterator[Speed]:
    for dataset in list_datasets(store):
        with suppress(BenchError, KeyError, TypeError, ValueError):
            about = dataset.about
            steps = sum(int(dataset.manifest(task)["steps"]) for task in dataset.tasks)
            settings = costly_settings({"source": about["source_config"]}, ["source"])
            if steps and dataset.seconds > LEAST_SECONDS:
                yield Speed(
                    Subject("collect", about["source"], about["environment"], settings=settings),
                    dataset.seconds / steps,
                )


def _trained(manifests: Any) -> Iterator[Speed]:
    for manifest in manifests:
        with suppress(KeyError, TypeError, ValueError):
            seconds, updates = float(manifest["seconds"]), updates_of(manifest["config"])
            if seconds > LEAST_SECONDS:
                yield Speed(_subject("train", manifest), seconds / updates)


def _adapted(store: Store, trained: Mapping[str, Mapping[str, Any]]) -> Iterator[Speed]:
    paths = [store.path(Adapt.folder, name) / RETURNS for name in store.names(Adapt.folder)]
    with suppress(OSError):
        paths = sorted(paths, key=lambda path: path.stat().st_mtime)[-MOST_READ:]
    for path in paths:
        with suppress(BenchError, OSError, KeyError, TypeError, ValueError, RecursionError):
            checkpoint = trained[store.manifest(Adapt.folder, path.parent.name)["checkpoint"]]
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["env_steps"] and found["seconds"] > LEAST_SECONDS:
                yield Speed(_subject("adapt", checkpoint), found["seconds"] / found["env_steps"])


def _subject(kind: str, manifest: Mapping[str, Any]) -> Subject:
    device = manifest.get("device", "cpu")  # older checkpoints don't say
    settings = costly_settings(manifest["config"], SECTIONS)
    return Subject(kind, manifest["method"], manifest["environment"], device, settings)


#: What the speed of training and of adapting depends on.
SECTIONS = ("method", "backbone", "adapt")


def updates_of(config: Mapping[str, Mapping[str, Any]]) -> int:
    """The updates of a training, by its configuration; 1 where the method counts none, and the whole is the unit."""
    updates = config.get("method", {}).get("updates")
    return updates if isinstance(updates, int) and updates > 0 else 1
