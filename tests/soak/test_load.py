"""Many writers of one leaderboard, some killed, a PostgreSQL server stopped and started in between: nothing lost or doubled.

SQLite with 8 writers of 500 runs beside a reader is `tests/leaderboards/database/test_concurrency.py` too, at that size in
every run of the tests.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from .ledgers.ledger import Ledger, Size

PUBLISHED = "leaderboards/published/smoke-v1/reacher-goal-v1-task-blind-*.json"
#: Records one published run under many names, which it prints as they are acknowledged.
WRITER = """
import dataclasses, sys
from pathlib import Path
from icrl_leaderboards.exchange.reading import read_published
from icrl_leaderboards.database.leaderboard import Leaderboard
url, file, name, first, count = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
record = read_published(file).record
with Leaderboard(url) as board:
    for index in range(first, count):
        board.record(dataclasses.replace(record, run_id=f"{name}-{index}", seed=index))
        print(index, flush=True)
"""
READER = """
import sys
from icrl_leaderboards.database.leaderboard import Leaderboard
with Leaderboard(sys.argv[1]) as board:
    print("\\n".join(f"{run.run_id} {len(run.returns)} {len(run.returns[0])}" for run in board.runs()))
"""


def binaries() -> Path | None:
    """The folder with `initdb` and `postgres`; Debian keeps them off the path."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    return next(
        (path for path in ([Path(found).resolve().parent] if found else []) + places if (path / "postgres").exists()),
        None,
    )


class Server:
    """A PostgreSQL server on a socket in a folder of its own, that can be stopped as a machine's end would stop it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Path(tempfile.mkdtemp(prefix="icrl-load-"))  # a short path: a socket's has at most 107 characters
        self.who: dict[str, object] = {}
        if os.geteuid() == 0:  # the server refuses to run as root
            users = {entry.pw_name: entry for entry in pwd.getpwall()}
            user = users.get("postgres") or users["nobody"]
            self.who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self.home, user.pw_uid, user.pw_gid)
        make = [folder / "initdb", "-D", self.home / "data", "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-locale"]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd=self.home, **self.who)  # type: ignore[call-overload]
        self.url = f"postgresql://bench@/postgres?host={self.home}"

    def start(self) -> None:
        options = ["-c", "listen_addresses=", "-c", "max_connections=100"]
        self.process = subprocess.Popen(
            [self.folder / "postgres", "-D", self.home / "data", "-k", self.home, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.home,
            **self.who,  # type: ignore[call-overload]
        )
        end = time.monotonic() + 60
        ready = [self.folder / "pg_isready", "-h", self.home, "-q"]
        while subprocess.run(ready, check=False).returncode and time.monotonic() < end:
            time.sleep(0.1)

    def stop(self) -> None:
        """At once: what was not committed is gone, and the next start recovers."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(60)


@pytest.fixture
def server() -> Iterator[Server]:
    folder = binaries()
    if folder is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed: .ci/system-packages installs it")
        pytest.skip("PostgreSQL is not installed")
    server = Server(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.home)


class Writers:
    """Processes that record runs one by one, each where it was left after a kill."""

    def __init__(self, url: str, number: int, runs: int, folder: Path) -> None:
        (self.file,) = Path(__file__).parents[2].glob(PUBLISHED)
        self.url, self.runs, self.folder = url, runs, folder
        self.names = [f"writer{index}" for index in range(number)]
        self.processes = {name: self._start(name) for name in self.names}

    def acknowledged(self, name: str) -> int:
        """How many of a writer's runs are recorded, as it was told."""
        log = self.folder / f"{name}.log"
        return len(log.read_text().split()) if log.exists() else 0

    def done(self) -> int:
        """The same of all writers."""
        return sum(map(self.acknowledged, self.names))

    def kill_one(self, generator: np.random.Generator) -> None:
        self.processes[str(generator.choice(list(self.processes)))].kill()

    def go_on(self) -> None:
        """Starts again who was killed, or whose server went away."""
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                del self.processes[name]
                if self.acknowledged(name) < self.runs:
                    self.processes[name] = self._start(name)

    def note_what_is_there(self, ledger: Ledger) -> None:
        """Every acknowledged run is recorded, whole and once."""
        for process in self.processes.values():
            process.kill()
        command = [sys.executable, "-c", READER, self.url]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        found = {line.split()[0]: line.split()[1:] for line in lines}
        for name in self.names:
            missing = [index for index in range(self.runs) if f"{name}-{index}" not in found]
            said = (self.folder / f"{name}.err").read_text()
            unexpected = said if "Traceback" in said and "LeaderboardError" not in said else None
            ledger.note(name, f"lost {missing}: {said[-500:]}" if missing else unexpected)
        shapes, wanted = {tuple(shape) for shape in found.values()}, len(self.names) * self.runs
        whole = len(lines) == len(found) == wanted and len(shapes) == 1
        ledger.note("whole", None if whole else f"{len(lines)} runs, not {wanted}, shapes {shapes}")

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("a") as out, (self.folder / f"{name}.err").open("a") as err:
            arguments = [self.url, str(self.file), name, str(self.acknowledged(name)), str(self.runs)]
            return subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=out, stderr=err)


def test_writers_kills_and_a_restart_on_postgresql(server: Server, size: Size, ledger: Ledger, tmp_path: Path):
    number, runs, kills = size.pick(3, 8, 64), size.pick(10, 40, 100), size.pick(1, 3, 12)
    writers, generator = Writers(server.url, number, runs, tmp_path), np.random.default_rng(25)
    restarted, end = False, time.monotonic() + size.pick(120, 300, 3600)
    while writers.processes and time.monotonic() < end:
        done = writers.done()
        if kills and done > 3:
            writers.kill_one(generator)
            kills -= 1
        if not restarted and done > number * runs // 3:
            server.stop()
            server.start()
            restarted = True
        writers.go_on()
        time.sleep(0.05)
    writers.note_what_is_there(ledger)
    ledger.note("restart", None if restarted else "the server was never restarted")
    ledger.settle()


def test_writers_and_kills_on_sqlite(size: Size, ledger: Ledger, tmp_path: Path):
    number, runs, kills = size.pick(3, 8, 8), size.pick(20, 100, 500), size.pick(2, 6, 40)
    place = tmp_path / "board.sqlite"
    writers, generator = Writers(str(place), number, runs, tmp_path), np.random.default_rng(26)
    end, next_kill = time.monotonic() + size.pick(120, 300, 3600), 4
    while writers.processes and time.monotonic() < end:
        if kills and writers.done() >= next_kill:  # spread over the whole, so that every writer is hit in mid-write
            writers.kill_one(generator)
            kills, next_kill = kills - 1, writers.done() + number * runs // 50
        writers.go_on()
        time.sleep(0.02)
    writers.note_what_is_there(ledger)
    with sqlite3.connect(place) as connection:
        said = connection.execute("PRAGMA integrity_check").fetchall()
        orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    connection.close()
    ledger.note("integrity", None if said == [("ok",)] and not orphans else f"{said}, {orphans}")
    ledger.settle()
