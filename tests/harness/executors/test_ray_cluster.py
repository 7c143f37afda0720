"""A grid on a real Ray cluster of three raylets, one of which is killed; then the driver is killed, and started again.

At the end there is every row once, with the returns of `--executor local`, and nothing is left: no process, no scratch home, no
temporary file. `make soak` does the same with 4 environments × 3 methods × 2 seeds of the smoke protocol, rows on a PostgreSQL
server, and an interrupt.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from icrl_leaderboards.database.leaderboard import Leaderboard

from ...leaderboards.database.postgres_server import PASSWORD, Server, binaries

ray = pytest.importorskip("ray")

TIMEOUT = 3600.0
TOY_GRID = ("--envs", "toy-measured,toy-point,toy-faulty", "--methods", "toy-method,toy-online", "--seeds", "0")
SLOW = ("--set", "source.pause=0.4", "--set", "method.pause=0.03", "--set", "method.checkpoint_every=2")
ENVIRONMENTS = "reacher-goal,pusher-goal,half-cheetah-vel,ant-dir"
#: Nearly all the time of a smoke grid goes into its source runs, 64 of them: they are made shorter.
SHORT = ("--set", "source.total_steps=500")
FAULTY = """
[environments.toy-faulty-v1]
source = "toy-source"
split = { seed = 7, train = 6, validation = 2, test = 4, minimum_distance = 0.05 }

[environments.toy-faulty-v1.settings]
environment = { fault = "reward" }
collect = { floor_episodes = 2 }
adapt = { episodes = 3, validation_episodes = 2 }
"""


@dataclass
class Machines:
    """A cluster, and the folder in which its nodes keep their scratch homes."""

    cluster: Any
    scratch: Path

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self, **options: Any) -> Any:
        return self.cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, include_dashboard=False, **options)


@pytest.fixture
def machines(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    """Three nodes of one core each, with the toy parts."""
    from ray.cluster_utils import Cluster

    home = Path(tempfile.mkdtemp(prefix="ray-"))  # a short path: a socket's has at most 107 characters
    for name, value in {
        "PYTHONPATH": str(toy),
        "ICRL_BENCH_SCRATCH": str(home / "scratch"),
        "RAY_worker_niceness": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_health_check_initial_delay_ms": "1000",
        "RAY_health_check_period_ms": "500",
        "RAY_health_check_failure_threshold": "20",
    }.items():
        monkeypatch.setenv(name, value)
    machines = Machines(Cluster(), home / "scratch")
    try:
        machines.add(temp_dir=str(home))
        for _ in range(2):
            machines.add(wait=False)
        machines.cluster.wait_for_nodes(TIMEOUT)
        yield machines
    finally:
        machines.cluster.shutdown()
        shutil.rmtree(home, ignore_errors=True)


def events_of(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def ended(path: Path, how: str = "unit_ended") -> list[dict[str, Any]]:
    return [event for event in events_of(path) if event["event"] == how]


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + TIMEOUT
    while not holds():
        assert process is None or process.poll() is None, "".join(process.communicate())[-3000:]
        assert time.monotonic() < end
        time.sleep(0.1)


def units_at_work(folder: Path) -> list[int]:
    """Processes of a driver below the raylets that work in `folder`, and whatever of Ray's lives on without a raylet."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    found = [line.split(maxsplit=2) for line in listed.splitlines()]
    raylets = {pid for pid, _, words in found if "/raylet/raylet " in words and f"{folder}/" in words}
    return [
        int(pid)
        for pid, parent, words in found
        if parent in {"1", *raylets} and words.startswith("ray::") and "Agent" not in words
    ]


def finish(process: subprocess.Popen[str]) -> tuple[int, Any, str]:
    out, err = process.communicate(timeout=TIMEOUT)
    return process.returncode, json.loads(out), err


def rows_of(leaderboard: Path | str) -> dict[str, Any]:
    with Leaderboard(leaderboard) as board:
        found = board.runs()
    return {run.run_id: (run.returns, run.oracle, run.random, run.train_env_steps) for run in found}


@dataclass
class Trial:
    """One grid, on the cluster and on this machine alone."""

    machines: Machines
    spawn: Any
    folder: Path
    arguments: tuple[str | Path, ...]

    def start(self, name: str, *options: str | Path) -> subprocess.Popen[str]:
        """A driver on the cluster; its events are in `name.jsonl`."""
        home = ("--home", self.folder / "together", "--events", self.folder / f"{name}.jsonl")
        return self.spawn(*self.arguments, "--executor", "ray", "--address", self.machines.address, *home, *options)

    def alone(self) -> subprocess.Popen[str]:
        return self.spawn(*self.arguments, "--executor", "local", "--jobs", "1", "--home", self.folder / "apart")

    def events(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def end(self, driver: subprocess.Popen[str], how: signal.Signals) -> None:
        """Ends a driver by a signal; afterwards none of its workers lives."""
        driver.send_signal(how)
        driver.wait(TIMEOUT)
        driver.stdout.close()
        driver.stderr.close()
        wait_until(lambda: not units_at_work(self.machines.scratch.parent))

    def lose_a_node_and_the_driver(self, few: int, more: int, generator: random.Random) -> None:
        """The node after `few` units and a moment, the driver after `more` of them and another."""
        driver = self.start("first")
        wait_until(lambda: len(ended(self.events("first"))) >= few, driver)
        time.sleep(generator.uniform(0, 2))
        self.machines.cluster.remove_node(self.machines.cluster.list_all_nodes()[-1], allow_graceful=False)
        before = len(ended(self.events("first")))
        wait_until(lambda: len(ended(self.events("first"))) >= before + more, driver)
        time.sleep(generator.uniform(0, 2))
        self.end(driver, signal.SIGKILL)

    def check_nothing_is_left(self) -> None:
        wait_until(lambda: not units_at_work(self.machines.scratch.parent))
        scratch, home = self.machines.scratch, self.folder / "together"
        assert not scratch.exists() or not list(scratch.iterdir())
        assert not list(home.rglob("*.partial"))
        assert not list((home / "progress").glob("*"))
        assert sorted(os.listdir(home / "datasets")) == sorted(os.listdir(self.folder / "apart" / "datasets"))

    def check_nothing_is_made_twice(self, *names: str) -> None:
        good = [event["unit"] for name in names for event in ended(self.events(name)) if event["failure"] is None]
        assert len(good) == len(set(good))


def states_of(document: Any) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in ("environment", "method", "run_id", "state")) for row in document["rows"]]


def test_a_node_and_the_driver_are_killed(machines: Machines, toy: Path, spawn: Any, tmp_path: Path):
    protocol, other = toy / "toy-certified.toml", tmp_path / "other-site"
    protocol.write_text(protocol.read_text() + FAULTY)
    shutil.copytree(toy, other)
    fixed = ("grid", "-p", protocol, *TOY_GRID, *SLOW, "--no-certify", "--device", "cpu", "--json")
    trial = Trial(machines, spawn, tmp_path, fixed)
    trial.lose_a_node_and_the_driver(3, 12, random.Random(20))
    apart = trial.alone()

    # a node with other code of a plugin, in the place of the one that died
    (other / "toy_parts.py").write_text((other / "toy_parts.py").read_text().replace("0.3,", "0.4,"))
    stranger = machines.add(env_vars={"PYTHONPATH": str(other)})
    machines.cluster.wait_for_nodes(TIMEOUT)
    code, document, said = finish(trial.start("refused"))
    assert code == 4, said
    assert f"(node {stranger.node_id[:8]}) has other code of" in document["error"]["message"]
    assert document["error"]["message"].count("toy-parts 1.0 with content ") == 2
    assert not ended(trial.events("refused"))
    machines.cluster.remove_node(stranger)

    code, document, said = finish(trial.start("second"))
    assert code == 1, said  # of the environment whose rewards are no numbers
    local_code, local, _ = finish(apart)
    assert local_code == 1
    assert states_of(document) == states_of(local)
    assert [state for *_, state in states_of(document)] == ["done"] * 4 + ["failed"] * 2
    assert "reward is not finite" in document["rows"][-1]["error"]
    assert "(node " in document["rows"][-1]["error"]
    together, apart = (rows_of(tmp_path / home / "leaderboard.sqlite") for home in ("together", "apart"))
    assert together == apart
    assert len(together) == 4
    assert len({event["node"] for event in ended(trial.events("first"))}) >= 2
    trial.check_nothing_is_made_twice("first", "second")
    trial.check_nothing_is_left()


@pytest.fixture
def server() -> Iterator[Server]:
    folder = binaries()
    if folder is None:
        pytest.skip("PostgreSQL is not installed")
    server = Server(folder)
    yield server
    server.remove()


@pytest.mark.soak
def test_the_smoke_grid_of_24_rows(
    machines: Machines, server: Server, spawn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    generator = random.Random(21)
    url = server.remote_url(server.make_database("grid"))
    rows = ("--envs", ENVIRONMENTS, "--methods", "ad-gru,task-blind,macaw", "--seeds", "0,1", *SHORT)
    fixed = ("grid", "-p", "smoke", *rows, "--no-certify", "--device", "cpu", "--json", "--leaderboard")
    trial = Trial(machines, spawn, tmp_path, (*fixed, url))
    trial.lose_a_node_and_the_driver(10, 25, generator)
    driver = trial.start("interrupted")
    wait_until(lambda: len(ended(trial.events("interrupted"), "row_done")) >= 5, driver)
    time.sleep(generator.uniform(0, 2))
    trial.end(driver, signal.SIGINT)
    assert driver.returncode == 130
    assert not machines.scratch.exists() or not list(machines.scratch.iterdir())
    code, document, said = finish(trial.start("last"))
    assert code == 0, said
    together = rows_of(url)
    trial.arguments = (*fixed, tmp_path / "apart.sqlite")
    local_code, local, said = finish(trial.alone())
    assert local_code == 0, said
    assert states_of(document) == states_of(local)
    assert together == rows_of(tmp_path / "apart.sqlite")
    assert len(together) == len(states_of(document)) == 24
    trial.check_nothing_is_made_twice("first", "interrupted", "last")
    trial.check_nothing_is_left()
    assert not [path for path in tmp_path.glob("*.jsonl") if PASSWORD in path.read_text()]
