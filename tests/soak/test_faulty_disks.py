"""A disk that is full, over quota, read-only or broken, and a table of files that is full, at any call of a run.

A library that is loaded before the C library (`shim/faulty_disk.c`) makes the n-th call on files of the home fail, in the run
and in its workers alike. The run ends with exit code 1 and a sentence, or goes on where the failure does not matter; once
the disk is well again the same command ends as if nothing had been.
"""

from __future__ import annotations

import errno
import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .commands.running import PROTOCOLS, Ended, Starter, database_problems, left_over, tensors_below
from .ledgers.ledger import Ledger, Size

ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EROFS", "EMFILE")
FAILED = 1
SHIM = Path(__file__).parent / "shim" / "faulty_disk.c"

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@dataclass
class FaultyDisk:
    """The folder whose files are on the disk, and the numbers that its calls share."""

    folder: Path
    control: Path
    starter: Starter

    def fail(self, error: str | None, call: int = 0, from_then_on: bool = False) -> None:
        number = getattr(errno, error) if error else 0
        with self.control.open("r+b") as handle:  # in place: it is mapped
            handle.write(struct.pack("<4q", 0, call, number, from_then_on))

    def calls(self) -> int:
        """Calls since `fail` that could have failed."""
        return int(struct.unpack("<4q", self.control.read_bytes())[0])


@pytest.fixture(scope="module")
def disk(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyDisk]:
    folder = tmp_path_factory.mktemp("faulty")
    library, control, below = folder / "faulty_disk.so", folder / "control", folder / "disk"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, SHIM, "-ldl"], check=True)
    below.mkdir()
    control.write_bytes(bytes(32))
    environment = {"LD_PRELOAD": str(library), "FAULTY_DISK": str(control), "FAULTY_DISK_BELOW": str(below)}
    starter = Starter(site, folder / "tmp", environment)
    yield FaultyDisk(below, control, starter)
    starter.close()


def command(starter: Starter, home: Path) -> list[str | Path]:
    fixed = ["run", "-m", "toy-method", "-e", "toy-point", "-p", PROTOCOLS / "population.toml", "--device", "cpu"]
    return [*fixed, "--set", "method.checkpoint_every=4", "--jobs", "2", "--home", home, "--json"]


@pytest.fixture(scope="module")
def whole(disk: FaultyDisk) -> tuple[Path, Any, dict[str, bytes]]:
    """An undisturbed run: its home, its row and its bytes."""
    disk.starter.warm(command(disk.starter, disk.folder / "warm"))
    home = disk.folder / "whole"
    row = disk.starter.run(command(disk.starter, home), disk.folder.parent / "out").row()
    return home, row, tensors_below(home)


def prepare(home: Path, whole: Path, collected: bool) -> None:
    """From nothing, or with the histories alone."""
    if collected:
        shutil.copytree(whole / "datasets", home / "datasets")


def is_a_sentence(ended: Ended) -> bool:
    """Whether a failed run said in one line of words what was wrong, and what to do."""
    error = json.loads(ended.out)["error"]
    return "\n" not in error["message"] and " " in error["message"] and bool(error["hint"])


def problem(disk: FaultyDisk, home: Path, row: Any, tensors: dict[str, bytes], read_only: bool) -> str | None:
    """What went wrong with a run on a disk that fails, or with the run after it."""
    out = disk.folder.parent / "out"
    running = disk.starter.start(command(disk.starter, home), out)
    ended = running.wait()
    if ended.status not in (0, FAILED) or "Traceback" in ended.said:
        return f"ended with {ended.status}: {ended.said[-700:]}"
    if ended.status == FAILED and not is_a_sentence(ended):
        return f"no sentence: {ended.said[-700:]}"
    if ended.status == 0 and ended.row() != row:
        return "silent: another row"
    if left := running.orphans():
        return f"left processes {left}"
    disk.fail(None)
    ended = disk.starter.run(command(disk.starter, home), out)
    if ended.status != 0:
        return f"the next run ended with {ended.status}: {ended.said[-700:]}"
    if ended.row() != row or tensors_below(home) != tensors:
        return "silent: the next run ends otherwise"
    # a disk that became read-only keeps what lay there; the next write of the same file takes its place
    left_behind = [] if read_only else left_over(home, disk.starter.temporary)
    return f"temporary files {left_behind}" if left_behind else "; ".join(database_problems(home)) or None


@pytest.mark.parametrize("error", ERRORS)
def test_the_nth_call_fails(
    error: str, disk: FaultyDisk, whole: tuple[Path, Any, dict[str, bytes]], size: Size, ledger: Ledger
):
    """In full, every call of a run: those while it collects from nothing, the others with the histories there."""
    home_of_whole, row, tensors = whole
    generator, home = np.random.default_rng([23, *error.encode()]), disk.folder / "home"
    after_collecting = 0
    for collected in (True, False):
        prepare(home, home_of_whole, collected)
        disk.fail(error)
        disk.starter.run(command(disk.starter, home), disk.folder.parent / "out").row()
        all_calls = disk.calls()
        shutil.rmtree(home)
        calls = all_calls - after_collecting
        after_collecting = all_calls if collected else 0
        assert calls > 3, "the library is not at work"
        trials = min(calls, size.pick(3 if collected else 1, 16 if collected else 4, calls))
        edges = np.linspace(1, calls + 1, trials + 1).astype(int)  # one call of each part of the run
        for trial, call in enumerate(generator.integers(edges[:-1], np.maximum(edges[1:], edges[:-1] + 1))):
            from_then_on = (trial + ERRORS.index(error)) % 2 == 0
            prepare(home, home_of_whole, collected)
            disk.fail(error, int(call), from_then_on)
            what = f"{error} at call {call} of {all_calls}{' and later' if from_then_on else ''}"
            ledger.note(what, problem(disk, home, row, tensors, error == "EROFS" and from_then_on))
            disk.fail(None)
            shutil.rmtree(home, ignore_errors=True)
    ledger.settle()


def test_a_leaderboard_that_cannot_be_read_is_not_called_damaged(
    disk: FaultyDisk, whole: tuple[Path, Any, dict[str, bytes]], size: Size, ledger: Ledger
):
    """SQLite reports an error of the disk as "database disk image is malformed"; a hint to move the file would be wrong."""
    home, out = disk.folder / "home", disk.folder.parent / "out"
    show = ["leaderboard", "show", "--home", home, "--json"]
    shutil.copytree(whole[0], home)
    disk.starter.warm(show)
    disk.fail("EIO")
    rows = disk.starter.run(show, out).out
    calls = disk.calls()
    for call in range(1, calls + 1):
        for from_then_on in (call % 2 == 0,) if size is Size.small else (False, True):
            disk.fail("EIO", call, from_then_on)
            ended = disk.starter.run(show, out)
            fine = (ended.status == 0 and ended.out == rows) or (ended.status == FAILED and is_a_sentence(ended))
            ledger.note(f"call {call} of {calls} of a reader", None if fine else f"{ended.status}: {ended.said[-700:]}")
            disk.fail(None)
            again = disk.starter.run(show, out)
            ledger.note(f"after call {call}", None if again.out == rows else again.said[-700:])
    shutil.rmtree(home)
    assert calls > 3
    ledger.settle()
