"""Writing a file that somebody else may be reading, or that must not be lost where the new one can't be written."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file in one step: whoever reads it sees the old one or the new one, and on a full disk the old one stays.

    Raises:
        OSError: the file cannot be written; there is nothing left of the attempt.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
