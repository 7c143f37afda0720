"""Artefacts on disk: one directory each, addressed by a hash of everything that determines it, checksummed, never half there.

A directory is filled under a temporary name, every file is synced, `manifest.json` (with a sha256 per file) is written last
and the directory is renamed. So an artefact exists wholly or not at all, after any crash. Accepted trade-offs: an
interrupted write leaves a temporary directory behind, which the next write of that artefact removes; and two processes that
want one artefact wait for each other on an advisory lock, which some network file systems do not honour (there, two runs
that share artefacts must not be started at the same time).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from icrl_bench.artefacts.locks import LONGEST_WAIT, hold_lock
from icrl_registry.errors import BenchError, DamagedArtefactError, refused_by_the_machine

MANIFEST = "manifest.json"
SEAL = "manifest_sha256"  # the manifest's checksum of itself; without it only one is taken that is older than PLACE
PLACE = (
    "artefact"  # kind and name, in the manifest: two whole artefacts that were exchanged must not pass for each other
)
ADDRESS_LENGTH = 16
REBUILD_HINT = "`icrl-bench data verify --discard-damaged` removes it; the same run command then makes it again"


def default_home() -> Path:
    """`ICRL_BENCH_HOME`, or the per-user data directory."""
    chosen = os.environ.get("ICRL_BENCH_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("icrl-bench", appauthor=False)


def address_of(determinants: Mapping[str, Any]) -> str:
    """16 hex digits of the sha256 of the determinants as canonical JSON."""
    return _digest(determinants)[:ADDRESS_LENGTH]


class Store:
    """All artefacts below one home directory: `root/kind/name/`, where a kind may be nested (`datasets/ADDRESS`)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, name: str) -> Path:
        """Where an artefact is or would be."""
        return self.root / kind / name

    def exists(self, kind: str, name: str) -> bool:
        """Whether the artefact is there; says nothing of its content."""
        path = self.path(kind, name) / MANIFEST
        with _disk_errors(path):
            return path.is_file()

    def names(self, kind: str) -> list[str]:
        """Names of the artefacts of a kind, sorted; what a killed process was writing is none."""
        folder = self.root / kind
        return sorted(path.parent.name for path in folder.glob(f"[!.]*/{MANIFEST}")) if folder.is_dir() else []

    def manifest(self, kind: str, name: str) -> dict[str, Any]:
        """What was said of the artefact when it was written.

        Raises:
            DamagedArtefactError: missing, unreadable, or changed since.
        """
        path = self.path(kind, name) / MANIFEST
        try:
            manifest = dict(json.loads(path.read_text(encoding="utf-8")))
            seal = manifest.pop(SEAL, None)
            is_sealed = seal == _digest(manifest) if seal is not None else PLACE not in manifest
            is_whole = _names_files(manifest.get("files")) and is_sealed
        except (OSError, ValueError, TypeError, RecursionError) as error:
            if isinstance(error, OSError) and (refusal := refused_by_the_machine(error, path)):
                raise refusal from error
            raise DamagedArtefactError(f"cannot read {path}: {error}", REBUILD_HINT) from error
        if not is_whole:
            raise DamagedArtefactError(f"{path} differs from its checksum", REBUILD_HINT)
        made_as = manifest.pop(PLACE, f"{kind}/{name}")
        if made_as != f"{kind}/{name}":
            raise DamagedArtefactError(f"{path} belongs to another artefact, {made_as}", REBUILD_HINT)
        return manifest

    @contextmanager
    def write(self, kind: str, name: str, about: dict[str, Any]) -> Iterator[Path]:
        """Yields an empty directory to fill; at the end it becomes the artefact. `about` may be filled meanwhile."""
        final = self.path(kind, name)
        temporary = _temporary(final)
        with _disk_errors(final):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            try:
                yield temporary
                _seal(temporary, {**about, PLACE: f"{kind}/{name}"})
                shutil.rmtree(final, ignore_errors=True)
                temporary.rename(final)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)  # on a full disk every byte counts
                raise
            _sync(final.parent)

    def problems(self, kind: str, name: str) -> list[str]:
        """What differs from the manifest's checksums; empty if nothing does."""
        try:
            files = self.manifest(kind, name)["files"]
        except DamagedArtefactError as error:
            return [error.message]
        found = []
        for file, expected in files.items():
            path = self.path(kind, name) / file
            if not path.is_file():
                found.append(f"{path} is missing")
            elif _sha256(path) != expected:
                found.append(f"{path} differs from its checksum")
        return found

    def check(self, kind: str, name: str) -> None:
        """Raises DamagedArtefactError, naming the file, if the artefact differs from its checksums."""
        problems = self.problems(kind, name)
        if problems:
            raise DamagedArtefactError("; ".join(problems), REBUILD_HINT)

    def discard(self, kind: str, name: str) -> None:
        """Removes an artefact, or a single file that is kept in its place; killed halfway, it leaves no damaged one."""
        path = self.path(kind, name)
        with _disk_errors(path):
            if path.is_file():
                path.unlink()
            elif path.is_dir():
                temporary = _temporary(path)
                shutil.rmtree(temporary, ignore_errors=True)
                path.rename(temporary)
                shutil.rmtree(temporary, ignore_errors=True)

    @contextmanager
    def lock(
        self,
        kind: str,
        name: str,
        on_wait: Callable[[str], None] = lambda text: None,
        longest_wait: float = LONGEST_WAIT,
    ) -> Iterator[None]:
        """Holds the artefact's lock: whoever else wants to make it waits. The system frees it when a process dies.

        `on_wait` is told in words who holds it. A BenchError says so after `longest_wait` seconds.
        """
        path = self.root / "locks" / f"{kind.replace('/', '-')}-{name}.lock"
        with contextlib.ExitStack() as stack:
            with _disk_errors(path):
                stack.enter_context(hold_lock(path, f"{kind}/{name}", on_wait, longest_wait))
            yield


def write_file(path: Path, content: bytes) -> None:
    """Replaces a file atomically and durably."""
    temporary = _temporary(path)
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            _sync(temporary)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def remove_file(path: Path) -> None:
    """Removes what `write_file` wrote, if it is there, and what a killed write left."""
    path.unlink(missing_ok=True)
    remove_partial(path)


def remove_partial(path: Path) -> None:
    """Removes what a killed `write_file` left beside the file that it was to replace."""
    _temporary(path).unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BenchError(
                f"the disk is full: {path} was not written",
                "free some space and run the same command again; it continues",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise BenchError(f"no permission to write {path}", "choose another folder with --home DIR") from error
        raise BenchError(f"cannot write {path}: {error}", "choose another folder with --home DIR") from error


def _seal(folder: Path, about: Mapping[str, Any]) -> None:
    """Writes the manifest, with the checksums of all files and of itself, and brings everything to the disk."""
    files = {file.name: _sha256(file) for file in sorted(folder.iterdir())}
    manifest = json.loads(json.dumps({**about, "files": files}, allow_nan=False))
    manifest.pop(SEAL, None)  # of an older manifest that was copied
    text = json.dumps({**manifest, SEAL: _digest(manifest)}, indent=1, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    for file in folder.iterdir():
        _sync(file)
    _sync(folder)


def _names_files(files: object) -> bool:
    """Whether a manifest's files are names in its own folder, with a checksum each."""
    return isinstance(files, dict) and all(
        re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", name) and isinstance(digest, str)
        for name, digest in files.items()
    )


def _digest(document: Mapping[str, Any]) -> str:
    """sha256 of a document as canonical JSON."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
