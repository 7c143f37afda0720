"""Many writers on one PostgreSQL server, some killed, the server stopped and started in between: nothing lost or doubled.

The same on SQLite with 8 writers of 500 runs is `tests/leaderboards/test_concurrency.py`, at that size in every run of the
tests.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from .ledger import Ledger, Size

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


def test_writers_kills_and_a_restart(server: Server, size: Size, ledger: Ledger, tmp_path: Path):
    writers, runs = size.pick(3, 8, 64), size.pick(10, 40, 100)
    kills = size.pick(1, 3, 12)
    (file,) = Path(__file__).parents[2].glob(PUBLISHED)
    names, generator = [f"writer{index}" for index in range(writers)], np.random.default_rng(25)

    def acknowledged(name: str) -> int:
        log = tmp_path / f"{name}.log"
        return len(log.read_text().split()) if log.exists() else 0

    def start(name: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{name}.log").open("a") as out, (tmp_path / f"{name}.err").open("a") as err:
            arguments = [server.url, str(file), name, str(acknowledged(name)), str(runs)]
            return subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=out, stderr=err)

    processes = {name: start(name) for name in names}
    restarted, end = False, time.monotonic() + size.pick(120, 300, 3600)
    while processes and time.monotonic() < end:
        done = sum(map(acknowledged, names))
        if kills and done > 3 and (victim := str(generator.choice(list(processes)))):
            processes[victim].kill()
            kills -= 1
        if not restarted and done > writers * runs // 3:
            server.stop()
            server.start()
            restarted = True
        for name, process in list(processes.items()):
            if process.poll() is None:
                continue
            del processes[name]
            if acknowledged(name) < runs:
                processes[name] = start(name)  # killed, or its server went away: it goes on where it was
        time.sleep(0.05)
    for process in processes.values():
        process.kill()
    lines = subprocess.run(
        [sys.executable, "-c", READER, server.url], capture_output=True, text=True, check=True
    ).stdout
    found = {line.split()[0]: line.split()[1:] for line in lines.splitlines()}
    for name in names:
        missing = [index for index in range(runs) if f"{name}-{index}" not in found]
        said = (tmp_path / f"{name}.err").read_text()
        unexpected = said if "Traceback" in said and "LeaderboardError" not in said else None
        ledger.note(name, f"lost {missing}: {said[-500:]}" if missing else unexpected)
    shapes = {tuple(shape) for shape in found.values()}
    ledger.note(
        "whole", None if len(found) == writers * runs and len(shapes) == 1 else f"{len(found)} runs, shapes {shapes}"
    )
    ledger.note("restart", None if restarted else "the server was never restarted")
    ledger.settle()
