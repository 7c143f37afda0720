"""Checkpoints: named tensors and a JSON state in one safetensors file. Never pickle."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from icrl_bench.store import Store, write_file
from icrl_bench.tensors import map_file, to_bytes
from icrl_registry.contracts import Checkpoint, CheckpointStore
from icrl_registry.errors import DamagedArtefactError, NumericalError

KIND = "checkpoints"
FILE = "checkpoint.safetensors"


def encode(checkpoint: Checkpoint, extra: dict[str, Any] | None = None) -> bytes:
    """Equal checkpoints give equal bytes."""
    for name, tensor in checkpoint.tensors.items():
        if np.asarray(tensor).dtype.kind == "f" and not np.isfinite(tensor).all():
            raise NumericalError(
                f"tensor {name} of the checkpoint is not finite", "lower the learning rate, or clip gradients"
            )
    metadata = {"state": json.dumps(checkpoint.state, sort_keys=True, allow_nan=False)}
    if extra:
        metadata["harness"] = json.dumps(extra, sort_keys=True, allow_nan=False)
    return to_bytes(checkpoint.tensors, metadata)


def decode(path: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """A checkpoint and what the harness keeps with it."""
    tensors, metadata = map_file(path)
    try:
        state = json.loads(metadata["state"])
        extra = json.loads(metadata.get("harness", "{}"))
    except (KeyError, ValueError) as error:
        raise DamagedArtefactError(
            f"{path} has no readable state: {error}", "delete the file and run the same command again"
        ) from error
    return Checkpoint({name: np.array(tensor) for name, tensor in tensors.items()}, state), extra


class TrainingProgress(CheckpointStore):
    """Where one training keeps its progress, and the seconds and metered steps that belong to it.

    Both are kept in the same file, so that what a resumed training reports is what its parameters cost.
    """

    def __init__(self, store: Store, address: str) -> None:
        self.path = store.path("progress", f"{address}.safetensors")
        self.seconds_before = 0.0
        self.counters: dict[str, int] = {}
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall-clock over all interrupted parts; work lost in a crash is not in it."""
        return self.seconds_before + time.monotonic() - self._started

    def load(self) -> Checkpoint | None:
        if not self.path.exists():
            return None
        checkpoint, extra = decode(self.path)
        self.seconds_before = float(extra["seconds"])
        self.counters.update(extra["counters"])
        self._started = time.monotonic()
        return checkpoint

    def save(self, checkpoint: Checkpoint) -> None:
        write_file(self.path, encode(checkpoint, {"seconds": self.seconds, "counters": self.counters}))

    def discard(self) -> None:
        """After the final checkpoint has been kept."""
        self.path.unlink(missing_ok=True)


def save_final(store: Store, address: str, checkpoint: Checkpoint, about: dict[str, Any]) -> None:
    """Keeps the checkpoint that agents are made from."""
    with store.write(KIND, address, about) as folder:
        (folder / FILE).write_bytes(encode(checkpoint))


def load_final(store: Store, address: str) -> Checkpoint:
    """Raises DamagedArtefactError, naming the file, if it differs from its checksum."""
    store.check(KIND, address)
    return decode(store.path(KIND, address) / FILE)[0]
