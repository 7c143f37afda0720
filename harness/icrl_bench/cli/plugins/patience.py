"""A limit for code that is not ours: a plugin's import may never end, and the list must be had all the same."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from icrl_registry.errors import EXIT_PLUGIN, BenchError

LAST_WORD = 5.0  # seconds after the limit in which the interrupted code may clean up


class TooLong(BenchError):
    """Something took longer than it may."""


@contextlib.contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Raises `TooLong` inside the block once `seconds` have passed; code that swallows even that ends the process in words.

    It needs the interval timer of POSIX and the main thread; elsewhere the block runs without a limit.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:
            sys.stderr.write(f"error: {what} never ends and cannot be interrupted\nhint: `--no-load` imports nothing\n")
            sys.stderr.flush()
            os._exit(EXIT_PLUGIN)
        interrupted = True
        raise TooLong(f"not done within {seconds:g} s", "--patience SECONDS waits longer; --no-load imports nothing")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, LAST_WORD)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
