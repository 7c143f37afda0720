"""The local executor: a process for each of `jobs` units at a time, with `cores` threads each, on the driver's own home.

Processes are spawned, not forked (a forked OpenMP runtime hangs), and kept for the next unit, as importing takes longer than
many a unit. A unit on a GPU gets a process that sees one GPU and nothing else of that kind; which there are is what
`CUDA_VISIBLE_DEVICES` says, or all. A worker whose driver dies ends itself within a moment.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections import deque
from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from icrl_bench.artefacts.store import Store
from icrl_bench.executors.contract import RETRIES, Executor, Failure, UnitKey, UnitOutcome
from icrl_bench.executors.worker import Report, make_pickled, perform, set_up_process
from icrl_bench.machine.deaths import A_MAPPED_FILE, UNREADABLE, exit_words
from icrl_bench.machine.workers import end_with_parent, interrupts_held_back
from icrl_bench.stages.stage import Unit
from icrl_registry.errors import BenchError, UsageError

VISIBLE = "CUDA_VISIBLE_DEVICES"
NO_GPU = ""


@dataclass
class Job:
    """A unit, and how often its process has died."""

    unit: Unit
    deaths: int = 0

    @property
    def needs_gpu(self) -> bool:
        return self.unit.device.startswith("cuda")


@dataclass
class Worker:
    """A process, the GPU that it sees, and what it makes at the moment."""

    process: Any
    connection: Connection
    gpu: str
    job: Job | None = None


class LocalExecutor(Executor):
    """Makes units in processes of this machine."""

    def __init__(self, home: Path, jobs: int, cores: int = 1, gpus: Sequence[str] = ()) -> None:
        """`gpus` as `CUDA_VISIBLE_DEVICES` names them; each serves one unit at a time."""
        self.home, self.jobs, self.cores = home, jobs, cores
        self._gpus = list(gpus)
        self._waiting: deque[Job] = deque()
        self._workers: list[Worker] = []
        self._context = multiprocessing.get_context("spawn")

    @property
    def slots(self) -> int:
        return self.jobs

    def submit(self, unit: Unit) -> None:
        job = Job(unit)
        if job.needs_gpu and not self._gpus:
            raise UsageError(f"{unit.name} needs a GPU, and this machine has none", "use --device cpu")
        self._waiting.append(job)

    def running(self) -> Set[UnitKey]:
        return {worker.job.unit.key for worker in self._workers if worker.job is not None}

    def wait(self, seconds: float) -> list[UnitOutcome]:
        self._hand_out()
        busy = {worker.connection: worker for worker in self._workers if worker.job is not None}
        ready = wait([*busy], timeout=seconds)
        outcomes = [self._collect(busy[connection]) for connection in ready if isinstance(connection, Connection)]
        return [outcome for outcome in outcomes if outcome is not None]

    def close(self) -> None:
        self._waiting.clear()
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()
        self._workers.clear()

    def _hand_out(self) -> None:
        """Gives the units that wait, in order, to free workers; one that has to wait for a GPU holds up no other."""
        held_up: deque[Job] = deque()
        while self._waiting and len(self.running()) < self.jobs:
            job = self._waiting.popleft()
            worker = self._worker_for(job)
            if worker is None:
                held_up.append(job)
                continue
            worker.job = job
            with suppress(OSError):  # it died while it was idle: `_collect` finds its end
                worker.connection.send_bytes(pickle.dumps(job.unit))
        self._waiting.extendleft(reversed(held_up))

    def _worker_for(self, job: Job) -> Worker | None:
        free = [worker for worker in self._workers if worker.job is None]
        for worker in free:
            if bool(worker.gpu) == job.needs_gpu:
                return worker
        gpu = NO_GPU
        if job.needs_gpu:
            taken = {worker.gpu for worker in self._workers}
            gpu = next((each for each in self._gpus if each not in taken), NO_GPU)
            if not gpu:
                return None
        if len(self._workers) >= self.jobs:
            self._dismiss(free[0])
        return self._hire(gpu)

    def _hire(self, gpu: str) -> Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self.home, os.getpid(), self.cores, gpu))
        with interrupts_held_back():  # an interrupt is the driver's to handle
            process.start()
        theirs.close()
        worker = Worker(process, ours, gpu)
        self._workers.append(worker)
        return worker

    def _dismiss(self, worker: Worker) -> int | None:
        """Ends a worker; its exit code, or minus the signal that killed it."""
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join(1.0)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        code: int | None = worker.process.exitcode
        return code

    def _collect(self, worker: Worker) -> UnitOutcome | None:
        job = worker.job
        assert job is not None
        try:
            report: Report = worker.connection.recv()
        except (EOFError, OSError):
            return self._bury(worker, job)
        worker.job = None
        return UnitOutcome(job.unit, report.seconds, "", report.failure)

    def _bury(self, worker: Worker, job: Job) -> UnitOutcome | None:
        """Of a process that died: its unit is made again, unless it has seen too many die."""
        code = self._dismiss(worker)
        job.deaths += 1
        if code == UNREADABLE and (damaged := self._damage(job.unit)):
            message = f"{job.unit.name}: its process died of {exit_words(code)}: {damaged}"
            return UnitOutcome(job.unit, 0.0, "", Failure(message, self._verify("--discard-damaged")))
        if job.deaths <= RETRIES:
            self._waiting.appendleft(job)
            return None
        message = f"{job.unit.name}: its process died {job.deaths} times, at last with {exit_words(code)}"
        hint = "if memory is short, run the same command with fewer --jobs; it continues"
        if code == UNREADABLE:
            folders = sorted({str(self.home / kind) for kind, _ in job.unit.reads})
            message += f": {A_MAPPED_FILE}; it reads {', '.join(folders) or self.home}"
            hint = self._verify()
        return UnitOutcome(job.unit, 0.0, "", Failure(message, hint))

    def _damage(self, unit: Unit) -> str:
        """What is wrong with the files that a unit reads; empty if they can all be read now."""
        store = Store(self.home)
        try:
            return "; ".join(problem for artefact in unit.reads for problem in store.problems(*artefact))
        except OSError as error:
            return f"cannot read {error.filename}: {error.strerror}"
        except BenchError as error:
            return error.message

    def _verify(self, *options: str) -> str:
        command = " ".join(("icrl-bench data verify --home", str(self.home), *options))
        return f"`{command}`, then the same command again; `dmesg` says more where the disk fails"


def _serve(connection: Connection, home: Path, parent: int, cores: int, gpu: str) -> None:
    """The life of a worker: units, until nobody sends more."""
    if gpu:
        os.environ[VISIBLE] = gpu  # before anything asks CUDA what there is
    set_up_process(cores)
    end_with_parent(parent)
    while True:
        try:
            content = connection.recv_bytes()
        except EOFError:
            return
        report = perform(lambda content=content: make_pickled(content, home))  # type: ignore[misc]
        try:
            connection.send(report)
        except BrokenPipeError:
            return


def visible_gpus() -> list[str]:
    """The GPUs that units may be given, by the names that `CUDA_VISIBLE_DEVICES` has for them."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]
