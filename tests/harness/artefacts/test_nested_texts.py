"""Texts nested deeper than Python recurses: each reader names the file, none lets a RecursionError through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from icrl_bench.artefacts.checkpoints import decode
from icrl_bench.artefacts.datasets import PLAN_FILE, Dataset
from icrl_bench.artefacts.formats import safetensors_folder
from icrl_bench.artefacts.store import MANIFEST, Store
from icrl_bench.artefacts.tensors import encode_tensors, map_file
from icrl_registry.configuration import read_config_file
from icrl_registry.errors import BenchError
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


READERS: dict[str, Callable[[Path], object]] = {
    MANIFEST: lambda home: Store(text(home / "k" / "n" / MANIFEST, DEEP).parents[2]).manifest("k", "n"),
    PLAN_FILE: lambda home: Dataset(Store(text(home / "datasets" / "n" / PLAN_FILE, DEEP).parents[2]), "n").about,
    "header.safetensors": lambda home: map_file(header(home / "header.safetensors")),
    "state.safetensors": lambda home: decode(tensors(home / "state.safetensors", state=DEEP)),
    "columns.safetensors": lambda home: safetensors_folder.read(tensors(home / "columns.safetensors", parameters=DEEP)),
    "config.toml": lambda home: read_config_file(text(home / "config.toml", f"a = {DEEP}")),
    "protocol.toml": lambda home: load_protocol(str(text(home / "protocol.toml", f"a = {DEEP}"))),
}


@pytest.mark.parametrize("name", READERS)
def test_a_text_nested_too_deep_is_an_error_that_names_its_file(name: str, tmp_path: Path):
    with pytest.raises(BenchError) as caught:
        READERS[name](tmp_path)
    assert name in caught.value.message
