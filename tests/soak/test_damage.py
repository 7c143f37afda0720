"""Every kind of file in a home, damaged in every way: found, with the file's name and what to type, or harmless.

After a damage `data verify` is asked, then the command runs again, as often as its own hints say. What counts is the end: the
row and the bytes of a home that was never damaged, and no word of an internal error on the way. In full, a byte of every class
(`positions.py`) is changed in every kind of file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .commands.running import Ended, Starter, tensors_below
from .ledgers.ledger import Ledger, Size
from .positions import one_of_each_class

DAMAGED, FAILED = 5, 1
SETTINGS = ("--set", "method.checkpoint_every=2", "--set", "method.updates=60", "--set", "method.pause=0.003")
#: One file of each kind, and what is removed so that the next run reads it.
ALL = ("checkpoints", "adaptations", "floors", "progress", "leaderboard.sqlite")
KINDS = {
    "shard": ("datasets/*/train-000/history.safetensors", ALL),
    "oracle's shard": ("datasets/*/test-001/history.safetensors", ALL),
    "policy": ("datasets/*/test-000/policy.safetensors", ALL),
    "manifest of a history": ("datasets/*/train-000/manifest.json", ALL),
    "data set": ("datasets/*/dataset.json", ALL),
    "wall-clock": ("datasets/*/seconds.txt", ALL),
    "checkpoint": ("checkpoints/*/checkpoint.safetensors", ("adaptations", "leaderboard.sqlite")),
    "manifest of a checkpoint": ("checkpoints/*/manifest.json", ("adaptations", "leaderboard.sqlite")),
    "adaptation": ("adaptations/*/returns.json", ("leaderboard.sqlite",)),
    "manifest of an adaptation": ("adaptations/*/manifest.json", ("leaderboard.sqlite",)),
    "floors": ("floors/*/floors.json", ("leaderboard.sqlite",)),
    "manifest of floors": ("floors/*/manifest.json", ("leaderboard.sqlite",)),
    "database": ("leaderboard.sqlite", ()),
    "log of the database": ("leaderboard.sqlite-wal", ()),
    "state of a training": ("progress/*.safetensors", ("leaderboard.sqlite",)),
}
#: Without a checksum of every byte: harmless, or found by whoever reads them. A training's state has one of its content.
UNSEALED = ("data set", "wall-clock", "database", "log of the database", "state of a training")


def command(starter: Starter, home: Path) -> list[str | Path]:
    fixed = ["run", "-m", "toy-method", "-e", "toy-point", "-p", starter.site / "toy.toml", "--device", "cpu"]
    return [*fixed, *SETTINGS, "--jobs", "1", "--home", home, "--json"]


@pytest.fixture(scope="module")
def whole(starter: Starter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with every kind of artefact but the state of a training."""
    folder = tmp_path_factory.mktemp("damage")
    starter.warm(command(starter, folder / "warm"))
    home = folder / "home"
    starter.run(command(starter, home), folder).row()
    return home


@pytest.fixture(scope="module")
def halted(starter: Starter, whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same home with the state of a training that was killed in place of the checkpoint."""
    home = tmp_path_factory.mktemp("halted") / "home"
    shutil.copytree(whole, home)
    for name in ("checkpoints", "adaptations"):
        shutil.rmtree(home / name)
    running = starter.start(command(starter, home), home.with_suffix(".out"))
    end = time.monotonic() + 60
    while not list(home.glob("progress/[!.]*.safetensors")) and time.monotonic() < end:
        time.sleep(0.002)
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait().status == -signal.SIGKILL
    assert list(home.glob("progress/[!.]*.safetensors"))
    return home


@pytest.fixture(scope="module")
def checkpointed(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same home with the leaderboard in its file, none of it in the log."""
    home = tmp_path_factory.mktemp("checkpointed") / "home"
    shutil.copytree(whole, home)
    with sqlite3.connect(home / "leaderboard.sqlite") as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    connection.close()
    return home


def damages(
    content: bytes, positions: Iterable[int], generator: np.random.Generator
) -> Iterator[tuple[str, bytes | None]]:
    """What may become of a file: (in words, its new content or None for no file)."""
    size = len(content)
    for position in positions:
        mask = int(generator.choice([0x01, 0x20, 0x80, 0xFF]))
        yield (
            f"byte {position} of {size} ^ {mask:#x}",
            content[:position] + bytes([content[position] ^ mask]) + content[position + 1 :],
        )
    for length in (0, 1, 8, size // 2, size - 1):
        yield f"cut to {length} of {size}", content[:length]
    for start in (0, size // 2):
        yield f"zeros from {start} of {size}", content[:start] + bytes(size - start)
    yield "all zeros but the last", bytes(size - 1) + content[-1:]
    yield "longer by 4096 zeros", content + bytes(4096)
    yield "missing", None


def says_the_same(content: bytes, original: bytes, suffix: str) -> bool:
    """Whether nothing was changed but blanks between the words of a JSON document."""
    if content == original or suffix != ".json":
        return content == original
    try:
        return bool(json.loads(content) == json.loads(original))
    except ValueError:
        return False


def names_the_file(ended: Ended, path: Path) -> bool:
    """Whether an error names a file, or the artefact that it is part of, and what to type."""
    try:
        error = json.loads(ended.out.splitlines()[-1])["error"]
    except (ValueError, KeyError, IndexError):
        return False
    named = path.name in error["message"] or path.parent.name in error["message"]
    return named and any(word in error["hint"] for word in ("icrl-bench", "delete", "command", "move"))


def shown(starter: Starter, home: Path) -> Ended:
    """The leaderboard as a reader sees it."""
    return starter.run(["leaderboard", "show", "--home", home, "--json"], home.with_suffix(".out"))


def problem_of_a_reader(starter: Starter, home: Path, path: Path, expected: list[Any]) -> str | None:
    """How a damaged leaderboard shows something else than it recorded, or nothing, without a word."""
    found = shown(starter, home)
    if found.status != 0:
        told = found.status in (FAILED, DAMAGED) and names_the_file(found, path)
        return None if told else f"leaderboard show ended with {found.status}: {found.said[-300:]}"
    # a log that breaks off loses its last rows, as after a power cut; so does a file that is gone
    lost = path.name.endswith("-wal") or not path.exists() or path.stat().st_size < 2  # a byte alone is none to SQLite
    rows = json.loads(found.out)["rows"]
    return None if rows == expected or (lost and not rows) else f"silent: shows {found.out[-300:]}"


def problem(starter: Starter, home: Path, path: Path, row: Any, tensors: dict[str, bytes], sealed: bool) -> str | None:
    """What went wrong with a home one of whose files was damaged."""
    out = home.with_suffix(".out")
    verified = starter.run(["data", "verify", "--home", home, "--json"], out)
    if verified.status not in (0, DAMAGED) or (verified.status == DAMAGED and not names_the_file(verified, path)):
        return f"data verify ended with {verified.status}: {verified.said[-300:]}"
    if sealed and verified.status == 0:
        return "data verify found nothing"
    first = starter.run(command(starter, home), out)
    if first.status == 0:
        return _difference(starter, home, first, row, tensors)
    if first.status not in (FAILED, DAMAGED) or not names_the_file(first, path):
        return f"the run ended with {first.status}: {first.said[-300:]}"
    if path.name.startswith("leaderboard"):
        for each in home.glob("leaderboard.sqlite*"):  # as its hint says: the rows come again from what is kept
            each.unlink()
    starter.run(["data", "verify", "--home", home, "--discard-damaged", "--json"], out)
    return _difference(starter, home, starter.run(command(starter, home), out), row, tensors)


def _difference(starter: Starter, home: Path, ended: Ended, row: Any, tensors: dict[str, bytes]) -> str | None:
    if ended.status != 0:
        return f"the next run ended with {ended.status}: {ended.said[-300:]}"
    if ended.row() != row:
        return "silent: another row"
    starter.run(["data", "verify", "--home", home, "--discard-damaged", "--json"], home.with_suffix(".out"))
    ended = starter.run(command(starter, home), home.with_suffix(".out"))
    if ended.status != 0 or ended.row() != row:
        return "silent: another row after what was damaged was discarded"
    found = tensors_below(home)
    wrong = sorted(name for name, content in tensors.items() if found.get(name, content) != content)
    return f"silent: other bytes in {wrong}" if wrong else None


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file(
    kind: str,
    starter: Starter,
    whole: Path,
    halted: Path,
    checkpointed: Path,
    size: Size,
    ledger: Ledger,
    tmp_path: Path,
):
    pattern, removed = KINDS[kind]
    origin = {"state of a training": halted, "database": checkpointed}.get(kind, whole)
    reference = tmp_path / "reference"
    shutil.copytree(whole, reference)
    row, tensors = starter.run(command(starter, reference), tmp_path / "out").row(), tensors_below(reference)
    (source,) = (path for path in origin.glob(pattern) if not path.name.startswith("."))
    shutil.copytree(origin, tmp_path / "shown")  # a reader that ends moves the log into the file
    expected = json.loads(shown(starter, tmp_path / "shown").out)["rows"]
    generator = np.random.default_rng([22, *kind.encode()])
    whole_file = source.read_bytes()
    chosen = list(damages(whole_file, one_of_each_class(whole_file, source.name, generator), generator))
    if size is not Size.full:
        chosen = [chosen[index] for index in generator.choice(len(chosen), size.pick(3, 9, 0), replace=False)]
    for index, (what, content) in enumerate(chosen):
        home = tmp_path / f"home{index}"
        shutil.copytree(origin, home)
        for name in removed:
            if (home / name).is_file():
                (home / name).unlink()
            elif not pattern.startswith(name):
                shutil.rmtree(home / name, ignore_errors=True)
        path = home / source.relative_to(origin)
        unchanged = content is not None and says_the_same(content, whole_file, path.suffix)
        path.unlink() if content is None else path.write_bytes(content)
        sealed = kind not in UNSEALED and not unchanged and not (content is None and path.name != "history.safetensors")
        found = problem_of_a_reader(starter, home, path, expected) if path.name.startswith("leaderboard") else None
        ledger.note(f"{kind}, {what}", found or problem(starter, home, path, row, tensors, sealed))
        shutil.rmtree(home)
    ledger.settle()


SIBLINGS = {
    "shards": ("datasets/*/train-000/history.safetensors", "datasets/*/train-001/history.safetensors"),
    "policies": ("datasets/*/test-000/policy.safetensors", "datasets/*/test-001/policy.safetensors"),
    "manifests": ("datasets/*/train-000/manifest.json", "datasets/*/train-001/manifest.json"),
    "histories": ("datasets/*/train-000", "datasets/*/train-001"),
    "oracles": ("datasets/*/test-000", "datasets/*/test-001"),
}


@pytest.mark.parametrize("which", SIBLINGS)
def test_swapped_with_a_sibling(which: str, starter: Starter, whole: Path, ledger: Ledger, tmp_path: Path):
    home, reference = tmp_path / "home", tmp_path / "reference"
    for folder in (home, reference):
        shutil.copytree(whole, folder)
    row, tensors = starter.run(command(starter, reference), tmp_path / "out").row(), tensors_below(reference)
    for name in ALL:
        path = home / name
        path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
    first, second = (next(home.glob(pattern)) for pattern in SIBLINGS[which])
    kept = first.with_name("kept")
    first.rename(kept)
    second.rename(first)
    kept.rename(second)
    ledger.note(f"swapped {which}", problem(starter, home, first, row, tensors, sealed=True))
    ledger.settle()
