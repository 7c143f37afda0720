"""The Ray executor: a task for each unit, wherever the cluster has room for it.

Ray places tasks, makes them again where a worker or node died, and moves objects; what is left to do here is little. A node
works on the driver's own home where that is shared, else in a scratch home: what a unit reads is sent there through the object
store, what it makes comes back with its result, and its progress after every save, by an actor on the driver's machine. So a
unit whose node died goes on elsewhere, and a driver that was killed finds everything that was finished or saved.

Tasks belong to the driver: when it ends, however it ends, Ray ends them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import socket
import threading
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icrl_bench.artefacts.checkpoints import PROGRESS_KIND
from icrl_bench.artefacts.store import Store, remove_file, write_file
from icrl_bench.executors.code import Code, check_code
from icrl_bench.executors.contract import RETRIES, Executor, Failure, Key, Outcome
from icrl_bench.executors.parcels import Parcel, pack, unpack
from icrl_bench.executors.scratch import open_scratch, remove_scratch
from icrl_bench.executors.worker import Report, make_pickled, perform, set_up_process
from icrl_bench.machine.cores import usable_cores
from icrl_bench.stages.stage import Artefact, Unit
from icrl_registry.errors import BenchError, UsageError

CHECK_SECONDS = 120.0  # for every node to say what code it has
CLEAN_SECONDS = 10.0  # for every node to remove its scratch home
SEND_EVERY = 1.0  # seconds between two looks at a unit's progress
RESOURCES_EVERY = 200  # calls between two questions of how large the cluster is


@dataclass(frozen=True)
class Errand:
    """All that a node is told of a unit. The unit itself stays packed until the node's code has been found to be the same."""

    content: bytes
    key: Key
    makes: tuple[Artefact, ...]
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
    parcels: dict[Artefact, Parcel] = field(default_factory=dict)


class RayExecutor(Executor):
    """Makes units on the nodes of a Ray cluster."""

    def __init__(
        self,
        home: Path,
        code: Code,
        address: str | None = None,
        jobs: int | None = None,
        cores: int = 1,
        shared_home: bool = False,
    ) -> None:
        """`address` of a running cluster, as `ray.init` takes it; else `RAY_ADDRESS`, else one is started on this machine.

        `jobs` is the most units at a time, as many as the cluster has room for by default; `cores` are for each of them.

        Raises:
            UsageError: Ray is not installed. BenchError: there is no cluster at the address.
            PluginError: a node has other code than this machine.
        """
        self.ray = _import_ray()
        self.store, self.code, self.jobs, self.cores = Store(home), code, jobs, cores
        self._scratch = "" if shared_home else uuid.uuid4().hex[:12]
        self._waiting: deque[Unit] = deque()
        self._flying: dict[Any, Unit] = {}  # a task's reference → its unit
        self._sent: dict[Artefact, Any] = {}  # what units in flight read → its reference in the object store
        self._readers: Counter[Artefact] = Counter()
        self._refused: list[Outcome] = []
        self._nodes: dict[Key, str] = {}  # unit that a node has begun → that node
        self._begun: Any = None  # an answer of the keeper that is on its way
        self._slots, self._asked = 1, 0
        self._connect(address)
        self._work = self.ray.remote(max_retries=RETRIES, retry_exceptions=False)(_work)
        try:
            self._keeper = self._start_keeper()
            self._check_nodes()
        except BaseException:
            self.close()
            raise

    # --- The contract ---

    @property
    def slots(self) -> int:
        if self._asked % RESOURCES_EVERY == 0:
            self._slots = max(1, int(self.ray.cluster_resources().get("CPU", 1)) // self.cores)
        self._asked += 1
        return min(self._slots, self.jobs or self._slots)

    def submit(self, unit: Unit) -> None:
        self._waiting.append(unit)
        self._hand_out()

    def running(self) -> Set[Key]:
        if self._begun is None:
            self._begun = self._keeper.take_begun.remote()
        elif self.ray.wait([self._begun], timeout=0)[0]:
            flying = {unit.key for unit in self._flying.values()}
            with contextlib.suppress(self.ray.exceptions.RayError):
                self._nodes.update({key: node for key, node in self.ray.get(self._begun) if key in flying})
            self._begun = None
        return self._nodes.keys()

    def wait(self, seconds: float) -> list[Outcome]:
        outcomes, self._refused = self._refused, []
        references = list(self._flying)
        if references:
            self.ray.wait(references, num_returns=1, timeout=0 if outcomes else seconds, fetch_local=False)
            ended, _ = self.ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)
            outcomes += [self._receive(reference) for reference in ended]
        self._hand_out()
        return outcomes

    def close(self) -> None:
        with contextlib.suppress(Exception):  # whatever the cluster is in by now: shutting down is what counts
            for reference in self._flying:
                self.ray.cancel(reference, force=True)
            if self._scratch:
                self._on_every_node(_clean, CLEAN_SECONDS, self._scratch)
        self._waiting.clear()
        self._flying.clear()
        self._sent.clear()
        self.ray.shutdown()

    # --- The cluster ---

    def _connect(self, address: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        where = address or os.environ.get("RAY_ADDRESS") or "local"
        started = {"num_cpus": (self.jobs or usable_cores()) * self.cores, "include_dashboard": False}
        try:
            self.ray.init(
                address=where,
                logging_level=logging.ERROR,
                log_to_driver=False,
                **(started if where == "local" else {}),
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            hint = "`ray status` says whether it runs; `ray start --head` starts one, --address auto finds it"
            raise BenchError(f"no Ray cluster at {where}: {error}", hint) from error

    def _start_keeper(self) -> Any:
        keeper = self.ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Keeper)
        here = self.ray.get_runtime_context().get_node_id()
        return keeper.options(scheduling_strategy=_on_node(self.ray, here)).remote(self.store.root)

    def _check_nodes(self) -> None:
        shared = None if self._scratch else self.store.root
        for failure in self._on_every_node(_check, CHECK_SECONDS, self.code, shared):
            if isinstance(failure, BenchError):
                raise failure

    def _on_every_node(self, function: Any, seconds: float, *arguments: Any) -> list[Any]:
        """What a function returns on every node; of those that answer in time and stay."""
        remote = self.ray.remote(num_cpus=0, max_retries=0)(function)
        nodes = [node["NodeID"] for node in self.ray.nodes() if node["Alive"]]
        asked = [remote.options(scheduling_strategy=_on_node(self.ray, node)).remote(*arguments) for node in nodes]
        answered, _ = self.ray.wait(asked, num_returns=len(asked), timeout=seconds)
        found = []
        for reference in answered:
            with contextlib.suppress(self.ray.exceptions.RayError):
                found.append(self.ray.get(reference))
        return found

    # --- Units ---

    def _hand_out(self) -> None:
        while self._waiting and (self.jobs is None or len(self._flying) < self.jobs):
            unit = self._waiting.popleft()
            errand = Errand(
                pickle.dumps(unit),
                unit.key,
                unit.makes,
                unit.progress,
                self.code,
                self.cores,
                self._scratch,
                self.store.root,
            )
            work = self._work.options(
                name=unit.name,
                num_cpus=self.cores,
                num_gpus=1 if unit.device.startswith("cuda") else 0,
            )
            try:
                inputs = self._references(unit)
            except BenchError as error:  # what it reads was damaged since it was made
                self._forget(unit)
                self._refused.append(Outcome(unit, 0.0, "", Failure(error.message, error.hint)))
                continue
            self._flying[work.remote(errand, inputs, self._keeper)] = unit

    def _references(self, unit: Unit) -> list[tuple[Artefact, Any]]:
        """What the unit reads, each once in the object store however many units read it."""
        if not self._scratch:
            return []
        self._readers.update(unit.reads)
        for artefact in unit.reads:
            if artefact not in self._sent:
                self._sent[artefact] = self.ray.put(pack(self.store, artefact))
        return [(artefact, self._sent[artefact]) for artefact in unit.reads]

    def _receive(self, reference: Any) -> Outcome:
        unit = self._flying.pop(reference)
        node = self._nodes.pop(unit.key, "")
        try:
            delivery: Delivery = self.ray.get(reference)
            failure, seconds, node = delivery.report.failure, delivery.report.seconds, delivery.node
            if failure is None and self._scratch:
                for artefact, parcel in delivery.parcels.items():
                    unpack(self.store, artefact, parcel, node)
                if unit.progress:
                    remove_file(self.store.path(PROGRESS_KIND, unit.progress))
        except BenchError as error:
            failure, seconds = Failure(error.message, error.hint, node), 0.0
        except self.ray.exceptions.RayError as error:
            failure, seconds = _failure_of_ray(unit, error, node), 0.0
        self._forget(unit)
        return Outcome(unit, seconds, node, failure)

    def _forget(self, unit: Unit) -> None:
        if self._scratch:
            self._readers.subtract(unit.reads)
            for artefact in unit.reads:
                if self._readers[artefact] <= 0:
                    del self._readers[artefact]
                    self._sent.pop(artefact, None)


class Keeper:
    """An actor on the driver's machine: keeps the progress of units in the driver's home, and notes which have begun."""

    def __init__(self, home: Path) -> None:
        self.store = Store(home)
        self.begun: list[tuple[Key, str]] = []

    def begin(self, key: Key, node: str) -> None:
        """A node has begun a unit."""
        self.begun.append((key, node))

    def take_begun(self) -> list[tuple[Key, str]]:
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


# --- On a node -------------------------------------------------------------------------------------------------------

_checked: set[Code] = set()  # that this process was found to have
_homes: dict[str, Path] = {}  # scratch homes that this process holds


def _work(errand: Errand, inputs: list[tuple[Artefact, Any]], keeper: Any) -> Delivery:
    """Runs on a node: makes one unit. Every end is in the delivery; only a dying process or node leaves none."""
    set_up_process(errand.cores)
    node = node_name()
    keeper.begin.remote(errand.key, node)
    parcels: dict[Artefact, Parcel] = {}

    def work() -> None:
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

    return Delivery(perform(work, node), node, parcels)


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


def _fetch(store: Store, inputs: list[tuple[Artefact, Any]]) -> None:
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


def _check(code: Code, shared_home: Path | None) -> BenchError | None:
    """Runs on every node before work starts: what is wrong with it, if anything."""
    try:
        check_code(code, node_name())
    except BenchError as error:
        return error
    if shared_home is not None and not shared_home.is_dir():
        hint = "mount it there, or leave out --shared-home: artefacts then travel by themselves"
        return UsageError(f"{node_name()} does not see the home {shared_home}", hint)
    return None


def _clean(name: str) -> None:
    """Runs on every node at the end."""
    remove_scratch(_of_node(name))


# --- Ray itself ------------------------------------------------------------------------------------------------------


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError("--executor ray needs Ray", "pip install 'icrl-bench[ray]'") from error
    return ray


def _on_node(ray: Any, node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _failure_of_ray(unit: Unit, error: Any, node: str) -> Failure:
    """What Ray says of a task that left no delivery: its process or node died too often, or memory was short."""
    said = " ".join(str(error).split())
    hint = f"it was tried {RETRIES + 1} times; `ray logs` and `ray list tasks` say more; the same command continues"
    return Failure(f"{unit.name}: {type(error).__name__}: {said[:500]}", hint, node)
