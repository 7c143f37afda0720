"""The readers of files that may come from anywhere: the one place in the campaigns that imports the package's modules."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from icrl_bench.artefacts import imports
from icrl_bench.artefacts.checkpoints import read_progress
from icrl_bench.artefacts.formats import minari
from icrl_bench.artefacts.store import Store
from icrl_bench.artefacts.tensors import map_file
from icrl_leaderboards.exchange.reading import read_published
from icrl_plugins.sources import imported
from icrl_registry.errors import BenchError
from icrl_registry.protocols.loading import load_protocol
from icrl_registry.protocols.splits import draw_tasks
from icrl_registry.testing.toy import ToyPoint

with suppress(ImportError):
    import h5py  # noqa: F401  # it asks another program for the processor when it is imported

__all__ = ["READERS", "BenchError"]

POINT = ToyPoint()
TASK = (0.25, -0.25)
BOX = json.dumps({"type": "Box", "dtype": "float32", "shape": [2], "low": [-1.0, -1.0], "high": [1.0, 1.0]})
METADATA = {"total_episodes": 2, "data_format": "hdf5", "observation_space": BOX, "action_space": BOX}


def read_manifest(path: Path) -> None:
    """As the store does: a manifest lies in its artefact's folder."""
    folder = path.parent / "home" / "kind" / "name"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, folder / "manifest.json")
    store = Store(path.parent / "home")
    store.manifest("kind", "name")
    store.problems("kind", "name")


def read_tensors(path: Path) -> None:
    """Every tensor of a safetensors file, to its last byte."""
    for array in map_file(path)[0].values():
        array.sum()


def read_protocol(path: Path) -> None:
    """A protocol, and the tasks that it lists; to draw a million is a valid wish."""
    for plan in load_protocol(str(path)).environments.values():
        if not any(isinstance(asked, int) for asked in (plan.split.train, plan.split.validation, plan.split.test)):
            draw_tasks(POINT, plan.split)


def bring_in(path: Path) -> None:
    """`data import`: what can be read is held to the environment, and kept."""
    home = path.parent / "home"
    shutil.rmtree(home, ignore_errors=True)
    if path.is_dir():  # `data import` reads it so in a process of its own, which the watch forbids
        data = imports.assemble(minari.read(path), "toy-point-v1", TASK)
    else:
        data = imports.read_files([path], "toy-point-v1")
    imports.keep(Store(home), POINT, data.environment, data.histories)


def bring_in_episodes(path: Path) -> None:
    """The file of episodes of a Minari data set."""
    folder = _minari(path.parent, json.dumps(METADATA))
    shutil.copy(path, folder / "data" / "main_data.hdf5")
    bring_in(folder)


def bring_in_metadata(path: Path) -> None:
    """What a Minari data set says of itself."""
    folder = _minari(path.parent, None)
    shutil.copy(path, folder / "data" / "metadata.json")
    shutil.copy(Path(__file__).parent / "corpus" / "episodes" / "plain.hdf5", folder / "data" / "main_data.hdf5")
    bring_in(folder)


def _minari(scratch: Path, metadata: str | None) -> Path:
    folder = scratch / "data-set"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    if metadata is not None:
        (folder / "data" / "metadata.json").write_text(metadata)
    return folder


def read_source(path: Path) -> None:
    """A folder for `--source`: its manifest, and the history of each task that it names."""
    folder = path.parent / "source"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder / imported.MANIFEST)
    try:
        source = imported.Imported(imported.ImportedConfig(path=str(folder)))
    except ValueError:  # a setting's, which the command line puts into words
        return
    source.total_steps()
    for _ in source.collect(POINT, POINT.tasks(2), [], lambda steps: None):
        pass


#: By name: what reads a file, and the ending that it has.
READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "published": (read_published, ".json"),
    "protocol": (read_protocol, ".toml"),
    "manifest": (read_manifest, ".json"),
    "tensors": (read_tensors, ".safetensors"),
    "state": (read_progress, ".safetensors"),
    "archive": (bring_in, ".npz"),
    "columns": (bring_in, ".safetensors"),
    "episodes": (bring_in_episodes, ".hdf5"),
    "metadata": (bring_in_metadata, ".json"),
    "source": (read_source, ".json"),
}
