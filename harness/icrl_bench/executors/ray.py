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
import uuid
from collections import Counter, deque
from collections.abc import Set
from pathlib import Path
from typing import Any

from icrl_bench.artefacts.checkpoints import PROGRESS_KIND
from icrl_bench.artefacts.store import Store, remove_file
from icrl_bench.executors.code import Code
from icrl_bench.executors.contract import RETRIES, Executor, Failure, UnitKey, UnitOutcome
from icrl_bench.executors.node import Delivery, Errand, Keeper, check, clean, work
from icrl_bench.executors.parcels import pack, unpack
from icrl_bench.machine.cores import usable_cores
from icrl_bench.stages.stage import ArtefactName, Unit
from icrl_registry.errors import BenchError, UsageError

CHECK_SECONDS = 120.0  # for every node to say what code it has
CLEAN_SECONDS = 60.0  # for every node to remove its scratch home, which on a busy one takes a new process
KEEP_IDLE_MS = 60_000  # that a process of Ray's is kept without work: the next would import everything again
RESOURCES_EVERY = 200  # calls between two questions of how large the cluster is


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
        self._sent: dict[ArtefactName, Any] = {}  # what units in flight read → its reference in the object store
        self._readers: Counter[ArtefactName] = Counter()
        self._refused: list[UnitOutcome] = []
        self._nodes: dict[UnitKey, str] = {}  # unit that a node has begun → that node
        self._begun: Any = None  # an answer of the keeper that is on its way
        self._slots, self._asked = 1, 0
        self._connect(address)
        self._work = self.ray.remote(max_retries=RETRIES, retry_exceptions=False)(work)
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

    def running(self) -> Set[UnitKey]:
        if self._begun is None:
            self._begun = self._keeper.take_begun.remote()
        elif self.ray.wait([self._begun], timeout=0)[0]:
            flying = {unit.key for unit in self._flying.values()}
            with contextlib.suppress(self.ray.exceptions.RayError):
                self._nodes.update({key: node for key, node in self.ray.get(self._begun) if key in flying})
            self._begun = None
        return self._nodes.keys()

    def wait(self, seconds: float) -> list[UnitOutcome]:
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
                self._on_every_node(clean, CLEAN_SECONDS, self._scratch)
        self._waiting.clear()
        self._flying.clear()
        self._sent.clear()
        self.ray.shutdown()

    # --- The cluster ---

    def _connect(self, address: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault(
            "RAY_idle_worker_killing_time_threshold_ms", str(KEEP_IDLE_MS)
        )  # of a cluster started here
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
        for failure in self._on_every_node(check, CHECK_SECONDS, self.code, shared):
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
                self._refused.append(UnitOutcome(unit, 0.0, "", Failure(error.message, error.hint)))
                continue
            self._flying[work.remote(errand, inputs, self._keeper)] = unit

    def _references(self, unit: Unit) -> list[tuple[ArtefactName, Any]]:
        """What the unit reads, each once in the object store however many units read it."""
        if not self._scratch:
            return []
        self._readers.update(unit.reads)
        for artefact in unit.reads:
            if artefact not in self._sent:
                self._sent[artefact] = self.ray.put(pack(self.store, artefact))
        return [(artefact, self._sent[artefact]) for artefact in unit.reads]

    def _receive(self, reference: Any) -> UnitOutcome:
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
            failure, seconds = failure_of_ray(unit, error, node), 0.0
        self._forget(unit)
        return UnitOutcome(unit, seconds, node, failure)

    def _forget(self, unit: Unit) -> None:
        if self._scratch:
            self._readers.subtract(unit.reads)
            for artefact in unit.reads:
                if self._readers[artefact] <= 0:
                    del self._readers[artefact]
                    self._sent.pop(artefact, None)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError("--executor ray needs Ray", "pip install 'icrl-bench[ray]'") from error
    return ray


def _on_node(ray: Any, node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def failure_of_ray(unit: Unit, error: Any, node: str) -> Failure:
    """What Ray says of a task that left no delivery: its process or node died too often, or memory was short."""
    said = " ".join(str(error).split())
    hint = f"it was tried {RETRIES + 1} times; `ray logs` and `ray list tasks` say more; the same command continues"
    return Failure(f"{unit.name}: {type(error).__name__}: {said[:500]}", hint, node)
