"""Compiling numba kernels with a cache on disk where one can be written.

Numba looks at the age of a kernel's own file to tell whether a cached binary is current, not at the files that it imports.
So the cache lies in a directory named after the contents of all files that kernels import from, below the user's cache
directory or `NUMBA_CACHE_DIR`: those of this folder, and every file with `kernel` in its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import config, njit
from platformdirs import user_cache_dir

from icrl_plugins.kernels.runtime.vectors import JIT


@cache
def _cache_directory() -> str:
    """Where compiled kernels of exactly these sources are kept."""
    contents = hashlib.sha256()
    here = Path(__file__).parent
    for source in sorted({*here.glob("*.py"), *here.parent.rglob("*kernel*.py")}):
        contents.update(source.read_bytes())
    base = config.CACHE_DIR or user_cache_dir("icrl-bench")
    return str(Path(base) / "kernels" / contents.hexdigest()[:16])


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`numba.njit`, cached on disk; where no cache directory can be written, compiled anew in each process."""
    given = config.CACHE_DIR
    config.CACHE_DIR = _cache_directory()  # read once, when a function is decorated
    try:
        return njit(cache=True, **JIT)(function)  # type: ignore[no-any-return]
    except RuntimeError:
        return njit(**JIT)(function)  # type: ignore[no-any-return]
    finally:
        config.CACHE_DIR = given
