"""Processes that work through a list of independent jobs, one CPU thread each.

Workers are spawned, not forked (a forked OpenMP runtime hangs), and a worker's result may not depend on which worker ran it
or beside which others: that is what makes `--jobs 1` and `--jobs 2` write the same bytes. A worker whose parent dies ends
itself within a second, so a killed run leaves no process behind.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

from icrl_bench.machine.deaths import A_MAPPED_FILE, UNREADABLE, exit_words, first_cause
from icrl_bench.machine.streams import accept_any_text
from icrl_registry.errors import EXIT_INTERRUPTED, BenchError, refused_by_the_machine

POLL_SECONDS = 0.25

_units: Any = None  # the shared counter, set in each worker by _start_worker


def report_units(count: int) -> None:
    """Called inside a job: `count` more units (environment steps) are done. Where nobody counts, it is not noted."""
    if _units is None:
        return
    with _units.get_lock():
        _units.value += count


def run_jobs(
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    num_workers: int,
    on_units: Callable[[int], None],
    verify: str = "icrl-bench data verify",
) -> Iterator[Any]:
    """Yields `function(*job)` for each job as they end, in any order; `on_units(total)` is called a few times a second.

    `verify` is what to type to find a file that a job could not read.

    Raises:
        BenchError: as raised by a job; anything else a job raised, as a BenchError with its traceback. The other jobs are
        stopped; those that ended before have been yielded.
    """
    if not jobs:
        return
    context = multiprocessing.get_context("spawn")
    # Only workers lock the counter, and nobody locks the flag: a worker that is killed may have died with a lock in hand.
    units, stop = context.Value("q", 0), context.RawValue("b", 0)
    executor = ProcessPoolExecutor(
        min(num_workers, len(jobs)), mp_context=context, initializer=_start_worker, initargs=(units, stop, os.getpid())
    )
    pending: set[Future[Any]] = set()
    workers: list[BaseProcess] = []
    try:
        with interrupts_held_back():  # workers start here and inherit it: an interrupt is the parent's to handle
            others = set(multiprocessing.active_children())
            for job in jobs:
                pending.add(executor.submit(_guarded, function, job))
                found = [process for process in multiprocessing.active_children() if process not in others]
                workers += found
                others.update(found)
        while pending:
            done, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            on_units(units.get_obj().value)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        # The pool has ended the workers that it knew of. One that was starting when another died it would wait for, for ever.
        for process in workers:
            process.terminate()
        executor.shutdown(wait=True, cancel_futures=True)  # until the last has an exit code
        raise _death([process.exitcode for process in workers], verify) from error
    finally:
        if pending:
            stop.value = 1
        executor.shutdown(wait=True, cancel_futures=True)


def _death(codes: Sequence[int | None], verify: str) -> BenchError:
    code = first_cause(codes)
    if code == UNREADABLE:
        return BenchError(
            f"a worker process died of {exit_words(code)}: {A_MAPPED_FILE}",
            f"`{verify}` names the file, `dmesg` says more of the disk; then run the same command again",
        )
    how = f"of {exit_words(code)}" if code else "without a word"
    return BenchError(
        f"a worker process died {how}: killed, or out of memory",
        "run the same command again; it continues, with --jobs 1 if memory is short",
    )


def _guarded(function: Callable[..., Any], job: tuple[Any, ...]) -> Any:
    try:
        return function(*job)
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and (refusal := refused_by_the_machine(error)):
            raise refusal from None
        where = traceback.format_exc(limit=-3)
        notes = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
        raise BenchError(f"{notes}{type(error).__name__}: {error}", f"where it arose:\n{where}") from None


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Processes that are started within it never see an interrupt: it is for their parent to end them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def set_up_worker(threads: int = 1) -> None:
    """For this process: nothing on standard output, which is the command's, and so many threads to compute with."""
    accept_any_text()
    os.dup2(2, 1)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    if "torch" in sys.modules:  # else it reads the environment when a source imports it
        sys.modules["torch"].set_num_threads(threads)


def end_with_parent(parent: int, is_over: Callable[[], bool] = lambda: False) -> None:
    """Ends this process within a moment after its parent died, or when `is_over` says so."""

    def watch() -> None:
        while os.getppid() == parent and not is_over():
            time.sleep(POLL_SECONDS)
        os._exit(EXIT_INTERRUPTED)

    threading.Thread(target=watch, daemon=True).start()


def _start_worker(units: Any, stop: Any, parent: int) -> None:
    global _units
    _units = units
    set_up_worker()
    end_with_parent(parent, lambda: bool(stop.value))
