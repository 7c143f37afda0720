"""Locks between processes, one file each: who wants an artefact that another makes waits, is told who that is, and gives up.

The system frees a lock when its holder dies. Beside the lock lies a note of who holds it; a killed holder's note stays until
the next one replaces it, and is read only while the lock is taken.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from icrl_registry.errors import BenchError

LONGEST_WAIT = 24 * 3600.0  # seconds: longer than any single artefact takes
POLL_SECONDS = 0.2


@contextmanager
def hold_lock(
    path: Path, what: str, on_wait: Callable[[str], None], longest_wait: float = LONGEST_WAIT
) -> Iterator[None]:
    """Holds the lock file at `path`; `on_wait` is told in words if another process has it.

    Raises:
        BenchError: it was not to be had within `longest_wait` seconds; the message says who holds it.
        OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()  # what fails here is the folder's fault, what fails below is a file system's that has no locks
    note = path.with_suffix(".holder")
    lock = FileLock(path)
    try:
        _acquire(lock, what, note, on_wait, longest_wait)
    except (OSError, NotImplementedError) as error:
        words = getattr(error, "strerror", None) or str(error)
        on_wait(f"{path.parent} has no locks ({words}): start no second run that shares these artefacts")
        yield
        return
    try:
        note.write_text(json.dumps(_ourselves()), encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            note.unlink()
        lock.release()


def _acquire(lock: FileLock, what: str, note: Path, on_wait: Callable[[str], None], longest_wait: float) -> None:
    with contextlib.suppress(Timeout):
        lock.acquire(timeout=0)
        return
    on_wait(f"waiting for {_holder(note)} that is making {what}")
    try:
        lock.acquire(timeout=longest_wait, poll_interval=POLL_SECONDS)
    except Timeout as error:
        raise BenchError(
            f"waited {longest_wait:,.0f} s for {_holder(note)} that is making {what}",
            "see whether it still works; end it if not, and run the same command again",
        ) from error


def _ourselves() -> dict[str, str | int]:
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _holder(note: Path) -> str:
    try:
        who = json.loads(note.read_text(encoding="utf-8"))
        return f"process {who['process']} on {who['host']}, since {who['since']},"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
