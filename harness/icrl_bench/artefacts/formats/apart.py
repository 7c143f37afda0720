"""Minari data sets read in a process of their own, which can be ended.

HDF5 is parsed by a C library that was not written for hostile files: one can keep it busy for ever, where no signal but
SIGKILL interrupts it, and one that crashes it would take the caller along. So a child reads the data set (`minari.read`) and
writes what it holds as NumPy archives into a temporary folder; the caller reads those with the reader for archives by
strangers (`npz.read`). Nothing is unpickled, and errors travel as text.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from icrl_bench.artefacts.formats import minari, npz
from icrl_bench.artefacts.formats.arrays import FORMAT_HINT, ForeignHistory
from icrl_registry.errors import BenchError, UsageError, refused_by_the_machine

PATIENCE = 120.0  # seconds for a data set of any size; within them a slow disk brings what `allowance.FREE` lets in
SLOWEST = 2**20  # bytes on the disk a second, by which a large data set gets longer
_CONTENTS, _ERROR = "contents.json", "error.json"
_KINDS = {kind.kind: kind for kind in (BenchError, UsageError)}


def read(path: Path) -> list[ForeignHistory]:
    """What `minari.read` gives for the data set at `path`, from a child that is killed when its time is over or we end.

    Raises:
        UsageError: what `minari.read` refuses, or the child crashed or did not come to an end.
        BenchError: the machine refuses, as where the folder for temporary files is full.
    """
    seconds = PATIENCE + sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / SLOWEST
    with tempfile.TemporaryDirectory(prefix="icrl-bench-") as folder:
        # -P: no module of the folder that the command was typed in
        command = [sys.executable, "-P", "-m", __name__, str(path), folder, str(math.ceil(seconds))]
        try:
            ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired as error:
            raise UsageError(
                f"cannot read the Minari data set {path}: HDF5 was not done with it after {seconds:,.0f} seconds",
                "such a file is malformed, or made to hang its reader: take the data from elsewhere, or as npz",
            ) from error
        if ended.returncode != 0:
            raise _error_of(path, Path(folder) / _ERROR, ended)
        return _collect(Path(folder))


def _error_of(path: Path, said: Path, ended: subprocess.CompletedProcess[bytes]) -> BenchError:
    """What the child said, or how it ended where it could say nothing."""
    if said.exists():
        error = json.loads(said.read_text(encoding="utf-8"))
        return _KINDS.get(error["kind"], BenchError)(error["message"], error["hint"])
    if ended.returncode < 0:
        return UsageError(f"cannot read the Minari data set {path}: signal {-ended.returncode} ended HDF5", FORMAT_HINT)
    last = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2][:300]
    return UsageError(f"cannot read the Minari data set {path}: {last or ended.returncode}", FORMAT_HINT)


def _collect(folder: Path) -> list[ForeignHistory]:
    places = json.loads((folder / _CONTENTS).read_text(encoding="utf-8"))
    return [replace(npz.read(folder / f"{number}.npz"), where=str(where)) for number, where in enumerate(places)]


def _leave(histories: list[ForeignHistory], folder: Path) -> None:
    """Writes histories where `_collect` finds them: `0.npz`, …, and their `where` in a list."""
    for number, history in enumerate(histories):
        about = {name: getattr(history, name) for name in npz.ABOUT}
        said = {name: np.asarray(value) for name, value in about.items() if value is not None}
        np.savez(folder / f"{number}.npz", **history.columns, **said)  # type: ignore[arg-type]
    (folder / _CONTENTS).write_text(json.dumps([history.where for history in histories]), encoding="utf-8")


def _main(path: Path, folder: Path, seconds: int) -> int:
    """The child: 0, or 1 with an error of ours in the folder."""
    with suppress(ImportError):  # not on Windows
        import resource

        # should the caller be killed before it can end us, the kernel does: a reader that hangs takes processor time
        resource.setrlimit(resource.RLIMIT_CPU, (2 * seconds, 2 * seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        _leave(minari.read(path), folder)
    except OSError as error:
        refusal = refused_by_the_machine(error, folder)
        if refusal is None:
            raise
        (folder / _ERROR).write_text(json.dumps(refusal.as_json()["error"]), encoding="utf-8")
        return 1
    except BenchError as error:
        (folder / _ERROR).write_text(json.dumps(error.as_json()["error"]), encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
