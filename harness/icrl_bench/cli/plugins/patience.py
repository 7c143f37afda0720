"""Other people's code at arm's length: imports are tried in a process apart, which may hang or die by itself.

An import cannot be interrupted safely where it is: half an extension module is worse than none. So a child tries one after
the other; when it has said nothing for too long it is ended, and another goes on behind the plugin that it hung on.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from icrl_registry.errors import BenchError

Attempt = Callable[[], dict[str, Any]]


class TooLong(BenchError):
    """Something took longer than it may."""


class Died(BenchError):
    """The process in which something was tried ended."""


def try_apart(attempts: Sequence[Attempt], patience: float) -> list[dict[str, Any] | BenchError]:
    """What each attempt returned, in order; an error in the place of one that hung for `patience` seconds or ended its process.

    Where processes cannot be forked (Windows) the attempts are made here, and none is too long.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        return [attempt() for attempt in attempts]
    found: list[dict[str, Any] | BenchError] = []
    while len(found) < len(attempts):
        found += _until_it_hangs(attempts[len(found) :], patience)
    return found


def _until_it_hangs(attempts: Sequence[Attempt], patience: float) -> list[dict[str, Any] | BenchError]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_make, args=(attempts, theirs), daemon=True)
    child.start()
    theirs.close()
    found: list[dict[str, Any] | BenchError] = []
    try:
        while len(found) < len(attempts):
            if not ours.poll(patience):
                found.append(TooLong(f"not done within {patience:g} s", "--patience SECONDS waits longer"))
                break
            try:
                found.append(ours.recv())
            except EOFError:
                child.join()
                found.append(Died(f"it ended the process that imported it ({_how(child.exitcode)})", "remove it"))
                break
    finally:
        child.kill()
        child.join()
        ours.close()
    return found


def _make(attempts: Sequence[Attempt], out: Connection) -> None:
    """In the child: one after the other. What is printed goes to standard error."""
    os.dup2(2, 1)
    for attempt in attempts:
        out.send(attempt())
    out.close()


def _how(exit_code: int | None) -> str:
    return f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
