"""What is said of a process that died, by its exit code as `multiprocessing` has it: minus the signal that killed it.

A history is mapped into memory, so a file that was cut short under a reader, or a disk that cannot give a part of it, is no
error that Python could raise: the system ends the process with SIGBUS. Whoever waits for it has to find the words.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable

UNREADABLE = -signal.SIGBUS
A_MAPPED_FILE = "a file that it had mapped could not be read: it was cut short, or the disk fails"


def exit_words(code: int | None) -> str:
    """`signal 9 (SIGKILL)`, or `exit code 3`."""
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # a real-time signal
        return f"signal {-code}"


def first_cause(codes: Iterable[int | None]) -> int | None:
    """Of processes that ended together the exit code of the one that died by itself: the others were then terminated."""
    dead = [code for code in codes if code]
    return next((code for code in dead if code != -signal.SIGTERM), dead[0] if dead else None)
