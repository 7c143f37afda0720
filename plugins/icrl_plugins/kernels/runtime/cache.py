"""Compiled kernels on disk, for the processes to come: a file an overload, checksummed, and never in a run's way.

Numba's own cache looks at the age of a kernel's file to tell whether a binary is current, not at the files that it imports;
it writes beside the sources where nothing else can be written; and it raises what a damaged file or a full disk
raises. Here

- the directory is named after the contents of everything below `kernels/` and the compiler's version, and a file after
  its own source, the types of the arguments and the processor;
- a file carries the SHA-256 of its name and contents. One that is empty, cut off, changed or another kernel's is compiled
  anew and written again;
- what cannot be read or written costs one warning a process, and the kernels are compiled without a cache.

Like numba's, the files are pickles: whoever can write into the user's cache directory can run code as that user.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import uuid
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite
import numba
from numba import config
from numba.core.caching import dumps
from numba.core.compiler import CompileResult
from platformdirs import user_cache_dir

_DIGEST_BYTES = hashlib.sha256().digest_size
_warned = False


@cache
def cache_directory() -> Path:
    """Where compiled kernels of exactly these sources are kept: below `NUMBA_CACHE_DIR` or the user's cache directory."""
    contents = hashlib.sha256(f"numba {numba.__version__}, llvmlite {llvmlite.__version__}".encode())
    folder = Path(__file__).parent.parent
    for source in sorted(folder.rglob("*.py")):
        contents.update(source.read_bytes())
    return Path(config.CACHE_DIR or user_cache_dir("icrl-bench")) / "kernels" / contents.hexdigest()[:16]


@cache
def _source_digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _digest(path: Path, data: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + b"\0" + data).digest()


def _warn(message: str) -> None:
    """Once a process: a cache that fails for one kernel fails for all."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(message, RuntimeWarning, stacklevel=3)


class KernelCache:
    """The cache of one function's overloads, in the place of numba's (`numba.core.caching.FunctionCache`)."""

    def __init__(self, function: FunctionType) -> None:
        self._function = function
        module = function.__module__.removeprefix("icrl_plugins.kernels.")
        self._stem = f"{module}.{function.__qualname__}".replace("<", "").replace(">", "")

    @property
    def cache_path(self) -> str:
        """The directory, as numba's statistics show it."""
        return str(cache_directory())

    def enable(self) -> None:
        """Part of numba's interface; always enabled."""

    def disable(self) -> None:
        """Part of numba's interface; always enabled."""

    def flush(self) -> None:
        """Forgets this function's overloads."""
        for file in cache_directory().glob(f"{self._stem}-*.nbc"):
            file.unlink(missing_ok=True)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The compiled overload, or None: it is not there, or of no use."""
        target_context.refresh()
        path = self._file(signature, target_context.codegen())
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            _warn(f"the compiled kernels in {path.parent} cannot be read ({error}); they are compiled anew")
            return None
        digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if _digest(path, data) != digest:
            _warn(f"the compiled kernel {path} is damaged; it is compiled anew")
            return None
        try:
            return CompileResult._rebuild(target_context, *pickle.loads(data))
        except Exception as error:  # whatever a binary of another build raises, compiling helps
            _warn(f"the compiled kernel {path} cannot be loaded ({error}); it is compiled anew")
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keeps a compiled overload for other processes; seen whole or not at all."""
        if compiled.library.has_dynamic_globals:
            return
        data = dumps(compiled._reduce())
        path = self._file(signature, compiled.codegen)
        unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(_digest(path, data) + data)
            os.replace(unfinished, path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            _warn(
                f"compiled kernels cannot be kept in {path.parent} ({error}): every process compiles them anew, "
                f"which takes minutes; NUMBA_CACHE_DIR names another directory"
            )

    def _file(self, signature: Any, codegen: Any) -> Path:
        """Numba's key (types, processor, closure) and the source that the function stands in."""
        code = self._function.__code__
        closure = tuple(cell.cell_contents for cell in self._function.__closure__ or ())
        key = hashlib.sha256(repr((signature, codegen.magic_tuple(), _source_digest(code.co_filename))).encode())
        key.update(dumps(closure))
        key.update(code.co_code)
        return cache_directory() / f"{self._stem}-{code.co_firstlineno}-{key.hexdigest()[:16]}.nbc"
