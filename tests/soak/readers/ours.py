"""The readers of files that may come from anywhere: the one place in the campaigns that imports the package's modules."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from icrl_bench.artefacts.checkpoints import read_progress
from icrl_bench.artefacts.store import Store
from icrl_bench.artefacts.tensors import map_file
from icrl_leaderboards.exchange.reading import read_published
from icrl_registry.errors import BenchError
from icrl_registry.protocols.loading import load_protocol

__all__ = ["READERS", "BenchError"]


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


#: By name: what reads a file, and the ending that it has.
READERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "published": (read_published, ".json"),
    "protocol": (lambda path: load_protocol(str(path)), ".toml"),
    "manifest": (read_manifest, ".json"),
    "tensors": (read_tensors, ".safetensors"),
    "state": (read_progress, ".safetensors"),
}
