"""Checkpoints: named tensors and a JSON state in one safetensors file, so that loading one can run no code."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from icrl_bench.artefacts.store import Store, remove_file, write_file
from icrl_bench.artefacts.tensors import encode_tensors, map_file
from icrl_registry.contracts import Checkpoint, CheckpointStore
from icrl_registry.errors import DamagedArtefactError, NumericalError

KIND = "checkpoints"
PROGRESS_KIND = "progress"
FILE = "checkpoint.safetensors"
CURVE_POINTS = 200  # of a training, about
SAVE_EVERY = 60.0  # seconds between two saves of a source's progress
LARGEST_SHARE = 0.05  # of the time, that saving may take


def encode(checkpoint: Checkpoint, extra: dict[str, Any] | None = None) -> bytes:
    """Equal checkpoints give equal bytes."""
    for name, tensor in checkpoint.tensors.items():
        if np.asarray(tensor).dtype.kind == "f" and not np.isfinite(tensor).all():
            raise NumericalError(
                f"tensor {name} of the checkpoint is not finite", "lower the learning rate, or clip gradients"
            )
    metadata = {"state": _canonical(checkpoint.state)}
    if extra:
        metadata["harness"] = _canonical(extra)
    return encode_tensors(checkpoint.tensors, metadata)


def decode(path: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """A checkpoint and what the harness keeps with it."""
    state, extra = _documents(path)
    return Checkpoint({name: np.array(tensor) for name, tensor in map_file(path)[0].items()}, state), extra


def _documents(path: Path) -> tuple[Any, dict[str, Any]]:
    """The state of a checkpoint, and what the harness keeps with it."""
    metadata = map_file(path)[1]
    try:
        return json.loads(metadata["state"]), json.loads(metadata.get("harness", "{}"))
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise DamagedArtefactError(
            f"{path} has no readable state: {error}",
            "`icrl-bench data verify --discard-damaged` removes it; the same run command then makes it again",
        ) from error


class KeptProgress(CheckpointStore):
    """Where one training, or one group of a source, keeps its progress, with its seconds, steps and curve.

    All are kept in the same file, so that what a resumed training reports is what its parameters cost. The file carries
    its own checksum: a training must not go on from damaged parameters.
    """

    def __init__(self, store: Store, address: str, save_every: float = 0.0) -> None:
        self.path = store.path(PROGRESS_KIND, f"{address}.safetensors")
        self.seconds_before = 0.0
        self.updates_before = 0
        self.updates = 0  # as last reported
        self.counters: dict[str, int] = {}
        self.curve: list[dict[str, float]] = []  # what was reported, thinned out
        self._started = self._last_save = time.monotonic()
        self._save_every = save_every

    @property
    def seconds(self) -> float:
        """Wall-clock over all interrupted parts; work lost in a crash is not in it."""
        return self.seconds_before + time.monotonic() - self._started

    def note(self, updates: int, total: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """Notes how far the training is; a point of the curve for every two hundredth of it. Returns the finite metrics.

        A report with a metric that the last point lacks is a point too: a validation, which comes seldom.
        """
        self.updates = updates
        numbers = {name: float(value) for name, value in metrics.items() if np.isfinite(value)}
        last = self.curve[-1] if self.curve else {}
        is_due = not last or updates == total or updates >= last["updates"] + max(1, total // CURVE_POINTS)
        if is_due or (len(self.curve) < 3 * CURVE_POINTS and not numbers.keys() <= last.keys()):
            self.curve.append({"updates": float(updates), **numbers})
        return numbers

    def load(self) -> Checkpoint | None:
        if not self.path.exists():
            return None
        checkpoint, extra = read_progress(self.path)
        self.seconds_before = float(extra["seconds"])
        self.updates_before = self.updates = int(extra["updates"])
        self.counters.update(extra["counters"])
        self.curve[:] = extra["curve"]
        self._started = self._last_save = time.monotonic()
        return checkpoint

    def kept_counter(self, name: str) -> int:
        """A counter as it was last kept, 0 at the first start, without reading the tensors."""
        return int(_documents(self.path)[1]["counters"].get(name, 0)) if self.path.exists() else 0

    def kept_updates(self) -> int:
        """The updates as they were last kept, 0 at the first start, without reading the tensors."""
        return int(_documents(self.path)[1]["updates"]) if self.path.exists() else 0

    def due(self) -> bool:
        return time.monotonic() - self._last_save >= self._save_every

    def save(self, checkpoint: Checkpoint) -> None:
        extra = {
            "seconds": self.seconds,
            "updates": self.updates,
            "counters": self.counters,
            "curve": self.curve,
        }
        began = time.monotonic()
        write_file(self.path, encode(checkpoint, {**extra, "sha256": _digest(checkpoint, extra)}))
        self._last_save = time.monotonic()
        self._save_every = max(self._save_every, (self._last_save - began) / LARGEST_SHARE)

    def discard(self) -> None:
        """After what it led to has been kept."""
        remove_file(self.path)


def read_progress(path: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """Kept progress and what the harness keeps with it.

    Raises:
        DamagedArtefactError: the file cannot be read, or differs from its checksum.
    """
    checkpoint, extra = decode(path)
    if extra.pop("sha256", None) != _digest(checkpoint, extra):
        raise DamagedArtefactError(
            f"{path} differs from its checksum",
            "`icrl-bench data verify --discard-damaged` removes it; the same run command then trains from the start",
        )
    return checkpoint, extra


def _digest(checkpoint: Checkpoint, extra: dict[str, Any]) -> str:
    digest = hashlib.sha256(_canonical([checkpoint.state, extra]).encode())
    for name in sorted(checkpoint.tensors):
        tensor = np.asarray(checkpoint.tensors[name], order="C")
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def _canonical(document: Any) -> str:
    """JSON that is the same before and after it was stored: keys become text first and are sorted then."""
    return json.dumps(json.loads(json.dumps(document, allow_nan=False)), sort_keys=True)


def save_final(store: Store, address: str, checkpoint: Checkpoint, about: dict[str, Any]) -> None:
    """Keeps the checkpoint that agents are made from."""
    with store.write(KIND, address, about) as folder:
        (folder / FILE).write_bytes(encode(checkpoint))


def load_final(store: Store, address: str) -> Checkpoint:
    """Raises DamagedArtefactError, naming the file, if it differs from its checksum."""
    store.check(KIND, address)
    return decode(store.path(KIND, address) / FILE)[0]
