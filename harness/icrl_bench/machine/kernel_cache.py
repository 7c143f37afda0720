"""What killed processes leave in the cache of compiled kernels, removed.

A kernel is written under its name and 32 hexadecimal digits, and then renamed (`icrl_plugins/kernels/runtime/cache.py`). What
a process that was killed between the two leaves is read by nobody, and one that is written takes milliseconds.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

OLD = 600.0  # seconds
_UNFINISHED = re.compile(r".+\.nbc\.[0-9a-f]{32}")


def remove_unfinished_kernels() -> None:
    """Removes unfinished files that are older than `OLD`; a cache that cannot be changed is left as it is."""
    from platformdirs import user_cache_dir

    root = Path(os.environ.get("NUMBA_CACHE_DIR") or user_cache_dir("icrl-bench")) / "kernels"
    with suppress(OSError):
        for path in root.glob("*/*"):
            if _UNFINISHED.fullmatch(path.name) and path.stat().st_mtime < time.time() - OLD:
                path.unlink(missing_ok=True)
