"""Units that take as long as they are told, for workers that import this folder: an artefact is read, one is made."""

from __future__ import annotations

import time
from pathlib import Path

from icrl_bench.artefacts.store import Store

KIND, FILE, SIZE = "timed", "content.bin", 2**20


def rest(home: Path, name: str, seconds: float) -> None:
    """Sleeps, and makes an artefact of a mebibyte."""
    began = time.monotonic()
    with Store(home).write(KIND, name, {}) as folder:
        (folder / FILE).write_bytes(bytes(SIZE))
    time.sleep(max(0.0, seconds - (time.monotonic() - began)))
