"""Homes on nodes that don't see the driver's: one for each grid and node, gone when the grid ends.

Every process that works in one holds a lock on it. What a killed node or driver left has no such holder: whoever next makes a
scratch home on that machine removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

HOLD = ".held"


def scratch_folder() -> Path:
    """Where scratch homes lie: `ICRL_BENCH_SCRATCH`, or a folder of this user among the temporary files."""
    chosen = os.environ.get("ICRL_BENCH_SCRATCH")
    return Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"icrl-bench-{os.getuid()}"


def open_scratch(name: str) -> Path:
    """A scratch home, made if it is not there, and held until this process ends; abandoned ones are removed."""
    folder = scratch_folder()
    home = folder / name
    while True:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):  # another process took it for an abandoned one
            descriptor = os.open(home / HOLD, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if (home / HOLD).stat().st_ino == os.fstat(descriptor).st_ino:
                break
            os.close(descriptor)
    for other in folder.iterdir():
        if other != home:
            _remove_if_abandoned(other)
    return home


def remove_scratch(name: str) -> None:
    """Removes a scratch home, whoever holds it, and the folder of scratch homes if it was the last."""
    folder = scratch_folder()
    shutil.rmtree(folder / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _remove_if_abandoned(home: Path) -> None:
    try:
        descriptor = os.open(home / HOLD, os.O_RDWR)
    except OSError:
        return  # being made, or removed
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(home, ignore_errors=True)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)
