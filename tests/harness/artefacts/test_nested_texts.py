"""Texts nested deeper than Python recurses: each reader names the file, none lets a RecursionError through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from icrl_bench.artefacts.checkpoints import decode
from icrl_bench.artefacts.datasets import PLAN_FILE, Dataset
from icrl_bench.artefacts.formats import minari, safetensors_folder
from icrl_bench.artefacts.store import MANIFEST, Store
from icrl_bench.artefacts.tensors import encode_tensors, map_file
from icrl_bench.executors.parcels import unpack
from icrl_bench.stages.adapt import FILE as ADAPTATION
from icrl_bench.stages.adapt import Adapt, read_adaptation
from icrl_leaderboards.analysis.claims.speed import speed_claim
from icrl_leaderboards.exchange.reading import read_published
from icrl_plugins.sources.imported import MANIFEST as IMPORTED
from icrl_plugins.sources.imported import read_manifest
from icrl_registry.configuration import parse_assignments, read_config_file
from icrl_registry.errors import BenchError, DamagedArtefactError
from icrl_registry.policies import load_policy
from icrl_registry.protocols.loading import load_protocol

DEEP = "[" * 100_000


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def tensors(path: Path, **metadata: str) -> Path:
    path.write_bytes(encode_tensors({}, metadata))
    return path


def header(path: Path) -> Path:
    path.write_bytes(len(DEEP).to_bytes(8, "little") + DEEP.encode())
    return path


def adaptation(home: Path) -> Store:
    """A home with an adaptation that was kept as it is: its checksums are right."""
    store = Store(home)
    with store.write(Adapt.folder, "n", {}) as folder:
        text(folder / ADAPTATION, DEEP)
    return store


READERS: dict[str, Callable[[Path], object]] = {
    MANIFEST: lambda home: Store(text(home / "k" / "n" / MANIFEST, DEEP).parents[2]).manifest("k", "n"),
    PLAN_FILE: lambda home: Dataset(Store(text(home / "datasets" / "n" / PLAN_FILE, DEEP).parents[2]), "n").about,
    "header.safetensors": lambda home: map_file(header(home / "header.safetensors")),
    "state.safetensors": lambda home: decode(tensors(home / "state.safetensors", state=DEEP)),
    "columns.safetensors": lambda home: safetensors_folder.read(tensors(home / "columns.safetensors", parameters=DEEP)),
    "metadata.json": lambda home: minari.read(text(home / "set" / "metadata.json", DEEP).parent),
    ADAPTATION: lambda home: read_adaptation(adaptation(home), "n"),
    "policy.json": lambda home: load_policy(text(home / "policy.json", DEEP).parent),
    "run.json": lambda home: read_published(text(home / "run.json", DEEP)),
    "backbones.json": lambda home: speed_claim(text(home / "backbones.json", DEEP)).judge([]),
    "config.toml": lambda home: read_config_file(text(home / "config.toml", f"a = {DEEP}")),
    "protocol.toml": lambda home: load_protocol(str(text(home / "protocol.toml", f"a = {DEEP}"))),
}

#: What stands for its file in the message of a reader of folders.
NAMED = {"metadata.json": "set", "policy.json": "exported policy"}


@pytest.mark.parametrize("name", READERS)
def test_a_text_nested_too_deep_is_an_error_that_names_its_file(name: str, tmp_path: Path):
    with pytest.raises(BenchError) as caught:
        READERS[name](tmp_path)
    assert NAMED.get(name, name) in caught.value.message


def test_a_parcel_from_another_node_whose_manifest_is_nested_too_deep(tmp_path: Path):
    with pytest.raises(DamagedArtefactError, match="node-7"):
        unpack(Store(tmp_path), ("k", "n"), {MANIFEST: np.frombuffer(DEEP.encode(), np.uint8)}, "node-7")


def test_a_folder_of_imported_data_whose_manifest_is_nested_too_deep(tmp_path: Path):
    with pytest.raises(ValueError, match=r"holds no imported data \(RecursionError"):
        read_manifest(text(tmp_path / IMPORTED, DEEP).parent)


def test_a_value_of_a_setting_nested_too_deep_is_taken_as_text():
    assert parse_assignments([f"method.updates={DEEP}"]) == {"method": {"updates": DEEP}}
