"""Runs of the command line from outside: started, signalled, waited for, and compared by what they leave on the disk."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROTOCOLS = Path(__file__).parent
TOY_DISTRIBUTION = PROTOCOLS.parents[1] / "harness" / "toy_distribution"
TIMEOUT = 600.0  # seconds; a machine can be busy
TENSORS = ("history.safetensors", "policy.safetensors", "checkpoint.safetensors", "floors.json")


@dataclass
class Ended:
    """How a command ended: exit code or −signal, and what it wrote."""

    status: int | None
    out: str
    err: str

    @property
    def said(self) -> str:
        """All it told, on both streams."""
        return f"{self.out}\n{self.err}"

    def row(self) -> dict[str, Any]:
        """The one row of a finished `run --json`, without what tells of time."""
        assert self.status == 0, self.said[-2000:]
        (row,) = json.loads(self.out)["runs"]
        return {name: value for name, value in row.items() if name not in ("seconds", "created_at")}


@dataclass
class Starter:
    """Starts commands as forks of one process that has imported everything (`warm_start.py`)."""

    site: Path  # a folder with plugin distributions
    temporary: Path  # TMPDIR of every command
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.temporary.mkdir(parents=True, exist_ok=True)
        fixed = {
            "PYTHONPATH": str(self.site),
            "TMPDIR": str(self.temporary),
            "OMP_NUM_THREADS": "1",
            "NUMBA_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "",  # each worker would compile every module again
        }
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).parent / "warm_start.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.site / "warm_start.err").open("w"),
            text=True,
            env={**os.environ, **fixed, **self.environment},
        )

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, (self.site / "warm_start.err").read_text()[-3000:]
        return dict(json.loads(answer))

    def warm(self, arguments: Sequence[str | Path]) -> None:
        """Runs a command in the starter itself, so that the ones after it need import nothing."""
        status = self._ask(warm=[str(each) for each in arguments])["status"]
        assert status == 0, (self.site / "warm_start.err").read_text()[-3000:]

    def start(self, arguments: Sequence[str | Path], folder: Path, **environment: str) -> Running:
        """Starts a command that writes its output below `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("out", "err"):  # of a command that is killed before it opens them, no word
            (folder / name).write_text("")
        answer = self._ask(start=[str(each) for each in arguments], folder=str(folder), environment=environment)
        return Running(self, int(answer["pid"]), folder)

    def run(self, arguments: Sequence[str | Path], folder: Path, **environment: str) -> Ended:
        """Starts a command and waits for it."""
        return self.start(arguments, folder, **environment).wait()

    def close(self) -> None:
        """Ends the starter; commands that still run are not touched."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(TIMEOUT)


@dataclass
class Running:
    """A command that was started. Its number stays its own until `wait` has answered."""

    starter: Starter
    pid: int
    folder: Path

    def wait(self, seconds: float = TIMEOUT) -> Ended:
        """How it ended. One that doesn't end in time is killed and has status None."""
        status = self.starter._ask(wait=self.pid, seconds=seconds)["status"]
        if status is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.starter._ask(wait=self.pid, seconds=10)
        return Ended(status, *((self.folder / name).read_text(errors="replace") for name in ("out", "err")))

    def members(self) -> list[int]:
        """All living processes of its session."""
        return [pid for pid, session, _ in _processes() if session == self.pid]

    def workers(self) -> list[int]:
        """Its children, sorted."""
        return sorted(pid for pid, _, parent in _processes() if parent == self.pid)

    def orphans(self, patience: float = 60.0) -> list[int]:
        """What still lives of its session, some seconds after its end."""
        end = time.monotonic() + patience
        while (left := self.members()) and time.monotonic() < end:
            time.sleep(0.05)
        return left


def _processes() -> list[tuple[int, int, int]]:
    """(process, session, parent) of all processes that are not zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if state not in "ZX":
            found.append((int(path.parent.name), int(session), int(parent)))
    return found


def left_over(home: Path, temporary: Path) -> list[str]:
    """Temporary files below a home and in the folder for temporary files."""
    partial = [str(path.relative_to(home)) for path in home.rglob("*") if ".partial" in path.name]
    return partial + [path.name for path in temporary.iterdir()]


def tensors_below(home: Path) -> dict[str, bytes]:
    """Everything that must be the same to the last bit, whatever happened on the way."""
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.name in TENSORS}


def database_problems(home: Path) -> list[str]:
    """What SQLite finds wrong with a home's leaderboard."""
    path = home / "leaderboard.sqlite"
    if not path.exists():
        return []
    with sqlite3.connect(path) as connection:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    connection.close()
    return [] if found == ["ok"] else found
