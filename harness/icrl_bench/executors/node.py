"""What happens on a node of a Ray cluster: a unit, in the driver's home or in a scratch home, and what comes back of it.

The keeper, an actor on the driver's machine, is whom a node tells of a unit's progress.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icrl_bench.artefacts.checkpoints import PROGRESS_KIND
from icrl_bench.artefacts.store import Store, write_file
from icrl_bench.executors.code import Code, check_code
from icrl_bench.executors.contract import UnitKey
from icrl_bench.executors.parcels import Parcel, pack, unpack
from icrl_bench.executors.scratch import open_scratch, remove_scratch
from icrl_bench.executors.worker import Report, make_pickled, perform, set_up_process
from icrl_bench.stages.stage import ArtefactName
from icrl_registry.errors import BenchError, UsageError

SEND_EVERY = 1.0  # seconds between two looks at a unit's progress


@dataclass(frozen=True)
class Errand:
    """All that a node is told of a unit. The unit itself stays packed until the node's code has been found to be the same."""

    content: bytes
    key: UnitKey
    makes: tuple[ArtefactName, ...]
    progress: str
    code: Code
    cores: int
    scratch: str  # name of the scratch homes; empty where nodes share the driver's home
    home: Path  # the driver's


@dataclass
class Delivery:
    """What comes back of a unit."""

    report: Report
    node: str
    parcels: dict[ArtefactName, Parcel] = field(default_factory=dict)


class Keeper:
    """An actor on the driver's machine: keeps the progress of units in the driver's home, and notes which have begun."""

    def __init__(self, home: Path) -> None:
        self.store = Store(home)
        self.begun: list[tuple[UnitKey, str]] = []

    def begin(self, key: UnitKey, node: str) -> None:
        """A node has begun a unit."""
        self.begun.append((key, node))

    def take_begun(self) -> list[tuple[UnitKey, str]]:
        """What has begun since the last call."""
        begun, self.begun = self.begun, []
        return begun

    def save(self, name: str, content: bytes) -> None:
        """Replaces a unit's progress, whole or not at all."""
        write_file(self.store.path(PROGRESS_KIND, name), content)

    def load(self, name: str) -> bytes | None:
        """A unit's progress as it was last saved."""
        path = self.store.path(PROGRESS_KIND, name)
        return path.read_bytes() if path.is_file() else None


_checked: set[Code] = set()  # that this process was found to have
_homes: dict[str, Path] = {}  # scratch homes that this process holds


def work(errand: Errand, inputs: list[tuple[ArtefactName, Any]], keeper: Any) -> Delivery:
    """Runs on a node: makes one unit. Every end is in the delivery; only a dying process or node leaves none."""
    set_up_process(errand.cores)
    node = node_name()
    keeper.begin.remote(errand.key, node)
    parcels: dict[ArtefactName, Parcel] = {}

    def make() -> None:
        if errand.code not in _checked:
            check_code(errand.code, node)
            _checked.add(errand.code)
        if not errand.scratch:
            make_pickled(errand.content, errand.home)
            return
        store = Store(_scratch_home(errand.scratch))
        _fetch(store, inputs)
        with _progress_travels(store, errand.progress, keeper):
            make_pickled(errand.content, store.root)
        parcels.update({artefact: pack(store, artefact) for artefact in errand.makes})

    return Delivery(perform(make, node), node, parcels)


def node_name() -> str:
    """Host and node: there may be several on one machine."""
    import ray

    return f"{socket.gethostname()} (node {ray.get_runtime_context().get_node_id()[:8]})"


def _scratch_home(name: str) -> Path:
    if name not in _homes:
        _homes[name] = open_scratch(_of_node(name))
    return _homes[name]


def _of_node(name: str) -> str:
    import ray

    return f"{name}-{ray.get_runtime_context().get_node_id()[:8]}"


def _fetch(store: Store, inputs: list[tuple[ArtefactName, Any]]) -> None:
    """Brings into the scratch home what the unit reads; what another unit brought is there."""
    import ray

    for artefact, reference in inputs:
        if not store.exists(*artefact):
            unpack(store, artefact, ray.get(reference), "the driver")


@contextlib.contextmanager
def _progress_travels(store: Store, name: str, keeper: Any) -> Iterator[None]:
    """Within it a unit's progress is brought to the driver's home after each time that the unit saves it."""
    import ray

    if not name:
        yield
        return
    path, over, sent = store.path(PROGRESS_KIND, name), threading.Event(), [0]
    kept = ray.get(keeper.load.remote(name))
    if kept is not None:
        write_file(path, kept)
        sent[0] = path.stat().st_mtime_ns

    def send() -> None:
        with contextlib.suppress(FileNotFoundError):
            saved = path.stat().st_mtime_ns
            if saved != sent[0]:
                ray.get(keeper.save.remote(name, path.read_bytes()))
                sent[0] = saved

    def watch() -> None:
        while not over.wait(SEND_EVERY):
            send()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        send()  # of a unit that failed: what it saved last


def check(code: Code, shared_home: Path | None) -> BenchError | None:
    """Runs on every node before work starts: what is wrong with it, if anything."""
    try:
        check_code(code, node_name())
    except BenchError as error:
        return error
    if shared_home is not None and not shared_home.is_dir():
        hint = "mount it there, or leave out --shared-home: artefacts then travel by themselves"
        return UsageError(f"{node_name()} does not see the home {shared_home}", hint)
    return None


def clean(name: str) -> None:
    """Runs on every node at the end."""
    remove_scratch(_of_node(name))
