"""`icrl-bench run` with real processes: workers, signals, pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from icrl_bench.artefacts.store import Store

TIMEOUT = 300
ARGUMENTS = ("run", "-m", "toy-method", "-e", "toy-point", "--device", "cpu", "--json", "-p")


def _members(group: int) -> list[int]:
    """Living processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.fixture
def start(spawn: Callable[..., subprocess.Popen[str]], toy: Path) -> Callable[..., subprocess.Popen[str]]:
    return lambda *arguments, **environment: spawn(*ARGUMENTS, toy / "toy.toml", *arguments, **environment)


def test_standard_output_is_the_commands_alone(start: Callable[..., subprocess.Popen[str]]):
    process = start("--set", "source.fault=print", "--set", "method.fault=print")
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    assert out.count("\n") == 1
    assert len(json.loads(out)["runs"]) == 1
    assert err.count("noise on standard output") == 2
    assert "noise below Python" in err


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_finished_run_says_so_on_any_terminal(spawn: Callable[..., subprocess.Popen[str]], toy: Path, encoding: str):
    """In a home whose name the encoding lacks, as text, with what a plugin prints."""
    arguments = [*ARGUMENTS[:-2], "-p", toy / "toy.toml", "--home", toy / "h\u014dme \u2026"]
    process = spawn(*arguments, "--set", "source.fault=print", PYTHONIOENCODING=encoding)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    assert "toy-method" in out


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("raise", "toy-source on task train-001: ZeroDivisionError: the source stumbled"),
        ("exit", "SystemExit: 0"),
        ("kill", "a worker process died"),
    ],
)
def test_failing_workers_end_the_run_in_words(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, fault: str, words: str
):
    process = start("--set", f"source.fault={fault}", "--jobs", "1")
    out, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert words in json.loads(out)["error"]["message"]
    home = Store(tmp_path / "home")
    (dataset,) = (path.name for path in (home.root / "datasets").iterdir())
    kept = home.names(f"datasets/{dataset}")
    assert "train-000" in kept, "what was collected before must stay"
    assert "train-001" not in kept


def test_ctrl_c_in_a_terminal(start: Callable[..., subprocess.Popen[str]], tmp_path: Path):
    """The terminal sends SIGINT to every process of the group."""
    process = start("--set", "source.pause=600", "--jobs", "2")
    deadline = time.monotonic() + TIMEOUT
    while len(_members(process.pid)) < 3:  # the command, its two workers (and their resource tracker)
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert json.loads(out)["error"]["kind"] == "interrupted"
    assert "Traceback" not in err
    while _members(process.pid):
        assert time.monotonic() < deadline, "a process was left behind"
        time.sleep(0.05)


def test_a_reader_that_goes_is_no_error(start: Callable[..., subprocess.Popen[str]]):
    process = start()
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(TIMEOUT) == 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
