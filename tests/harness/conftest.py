"""A toy distribution on `sys.path`, the command line in this process, and runs without worker processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from icrl_bench.cli.main import main
from icrl_bench.stages import collect, groups
from icrl_registry import discovery

DISTRIBUTION = Path(__file__).parent / "toy_distribution"
TIMEOUT = 300  # seconds; a machine can be busy


class Output:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, str]:
        """The error envelope's content."""
        assert set(self.document) == {"error"}
        assert set(self.document["error"]) == {"kind", "message", "hint"}
        return self.document["error"]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an installed copy of the toy distribution; its protocol is `toy.toml` there."""
    folder = tmp_path / "site"
    shutil.copytree(DISTRIBUTION, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(str(folder))
    discovery._scan.cache_clear()
    yield folder
    discovery._scan.cache_clear()
    for name in ("toy_parts", "toy_kill", "toy_pictures", "toy_trackers"):
        sys.modules.pop(name, None)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collects in this process."""

    def run_jobs(
        function: Callable[..., Any], jobs: Any, num_workers: int, on_units: Callable[[int], None], verify: str
    ) -> Any:
        done = 0

        def report(count: int) -> None:
            nonlocal done
            done += count
            on_units(done)

        monkeypatch.setattr(groups, "report_units", report)
        for job in jobs:
            yield function(*job)

    monkeypatch.setattr(collect, "run_jobs", run_jobs)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Output]:
    """Runs a command in this process, with a home of its own by default."""
    monkeypatch.setenv("ICRL_BENCH_HOME", str(tmp_path / "home"))

    def call(*arguments: str | Path) -> Output:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Output(int(caught.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def run(toy: Path, inline: None, cli: Callable[..., Output]) -> Callable[..., Output]:
    """`icrl-bench run` with the toy parts in this process; returns what it printed."""

    def call(*arguments: str | Path, method: str = "toy-method", env: str = "toy-point") -> Output:
        fixed = ("run", "-m", method, "-e", env, "-p", toy / "toy.toml", "--device", "cpu")
        return cli(*fixed, *arguments)

    return call


@pytest.fixture
def spawn(toy: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `icrl-bench` as a process of its own, in a process group of its own."""

    def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "icrl_bench.cli.main", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",  # of a process that was told another encoding
            env={**os.environ, "PYTHONPATH": str(toy), "ICRL_BENCH_HOME": str(tmp_path / "home"), **environment},
            start_new_session=True,
        )

    return start
