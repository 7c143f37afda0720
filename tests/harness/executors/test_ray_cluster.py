"""A grid on a real Ray cluster of three raylets, one of which is killed; then the driver is killed, and started again.

At the end there is every row once, with the returns of `--executor local`, and nothing is left: no process, no scratch home, no
temporary file. `--soak full` does the same with 4 environments × 3 methods × 2 seeds of the smoke protocol.
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

ray = pytest.importorskip("ray")

TIMEOUT = 600.0
TOY_GRID = ("--envs", "toy-measured,toy-point,toy-faulty", "--methods", "toy-method,toy-online", "--seeds", "0")
SLOW = ("--set", "source.pause=0.4", "--set", "method.pause=0.03", "--set", "method.checkpoint_every=2")
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
        assert process is None or process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < end
        time.sleep(0.1)


def units_at_work() -> list[int]:
    """Processes of Ray that belong to a driver."""
    listed = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    found = [line.split(maxsplit=1) for line in listed.splitlines()]
    return [int(pid) for pid, words in found if words.startswith("ray::") and "Agent" not in words]


def finish(process: subprocess.Popen[str]) -> tuple[int, Any, str]:
    out, err = process.communicate(timeout=TIMEOUT)
    return process.returncode, json.loads(out), err


def rows_of(home: Path) -> dict[str, Any]:
    with Leaderboard(home / "leaderboard.sqlite") as board:
        found = board.runs()
    return {run.run_id: (run.returns, run.oracle, run.random, run.train_env_steps) for run in found}


def test_a_node_and_the_driver_are_killed(machines: Machines, toy: Path, spawn: Any, tmp_path: Path):
    protocol, generator = toy / "toy-certified.toml", random.Random(20)
    protocol.write_text(protocol.read_text() + FAULTY)
    fixed = ("grid", "-p", protocol, *TOY_GRID, *SLOW, "--no-certify", "--device", "cpu", "--json")
    on_ray = (*fixed, "--executor", "ray", "--address", machines.address, "--home", tmp_path / "together")
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"

    driver = spawn(*on_ray, "--events", first)
    wait_until(lambda: len(ended(first)) >= 3, driver)
    time.sleep(generator.uniform(0, 2))
    victim = machines.cluster.list_all_nodes()[-1]
    machines.cluster.remove_node(victim, allow_graceful=False)
    before = len(ended(first))
    wait_until(lambda: len(ended(first)) >= before + 12, driver)
    time.sleep(generator.uniform(0, 2))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    driver.stderr.close()
    wait_until(lambda: not units_at_work())  # idle workers of the dead driver as well

    apart = spawn(*fixed, "--executor", "local", "--jobs", "1", "--home", tmp_path / "apart")
    code, document, said = finish(spawn(*on_ray, "--events", second))
    assert code == 1, said  # of the environment whose rewards are no numbers
    local_code, local, _ = finish(apart)
    assert local_code == 1
    states = [(row["environment"], row["method"], row["run_id"], row["state"]) for row in document["rows"]]
    assert states == [(row["environment"], row["method"], row["run_id"], row["state"]) for row in local["rows"]]
    assert [state for *_, state in states] == ["done"] * 4 + ["failed"] * 2
    assert "reward is not finite" in document["rows"][-1]["error"]
    assert "(node " in document["rows"][-1]["error"]

    assert rows_of(tmp_path / "together") == rows_of(tmp_path / "apart")
    assert len(rows_of(tmp_path / "together")) == 4
    good = [event["unit"] for path in (first, second) for event in ended(path) if event["failure"] is None]
    assert len(good) == len(set(good)), "what was finished is not made again"
    assert len({event["node"] for event in ended(first)}) >= 2

    wait_until(lambda: not units_at_work())
    assert not machines.scratch.exists() or not list(machines.scratch.iterdir())
    assert not list((tmp_path / "together").rglob("*.partial"))
    assert not list((tmp_path / "together" / "progress").glob("*"))
    assert os.listdir(tmp_path / "together" / "datasets") == os.listdir(tmp_path / "apart" / "datasets")
