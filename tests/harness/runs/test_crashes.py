"""A run that dies at any operation on a file goes on as if nothing had happened.

The run is made in a forked copy of this process that counts its operations on files (Python's audit events) and kills
itself at one of them, as a power switch would: no handler runs and nothing is flushed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icrl_bench.artefacts.datasets import find_damage
from icrl_bench.artefacts.store import Store
from icrl_bench.cli.main import _run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")

EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
SETTINGS = ("--set", "method.checkpoint_every=2", "--set", "method.updates=5", "--json")


def in_fork(
    arguments: tuple[str, ...], out: Path, die_at: int | None = None, home: Path | None = None
) -> tuple[int, int]:
    """Runs a command in a fork; its wait status, and the number of operations on files below `home`."""
    count_file = out.with_suffix(".count")
    pid = os.fork()
    if pid == 0:
        try:
            _become_the_command(arguments, out, die_at, str(home), count_file)
        except BaseException:
            traceback.print_exc()
        os._exit(99)
    status = os.waitpid(pid, 0)[1]
    return status, int(count_file.read_text() or 0)


def _become_the_command(arguments: tuple[str, ...], out: Path, die_at: int | None, home: str, count_file: Path) -> None:
    counter = os.open(count_file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    operations = 0

    def watch(event: str, details: tuple[Any, ...]) -> None:
        nonlocal operations
        if event in EVENTS and str(details[0]).startswith(home):
            operations += 1
            os.pwrite(counter, str(operations).encode(), 0)
            if operations == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.stdout = out.open("w")
    sys.addaudithook(watch)
    code = _run(list(arguments))
    sys.stdout.flush()
    os._exit(code)


@pytest.fixture
def command(run: Callable[..., Any], toy: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], tuple[str, ...]]:
    """The command for a home. It has run once in this process, so that the forks need not import anything."""
    monkeypatch.setattr("icrl_bench.stages.adapt.collect_provenance", lambda device, kernel: {})
    run(*SETTINGS)
    fixed = ("run", "-m", "toy-method", "-e", "toy-point", "-p", str(toy / "toy.toml"), "--device", "cpu", *SETTINGS)
    return lambda home: (*fixed, "--home", str(home))


def result_of(home: Path, out: Path) -> tuple[Any, dict[str, bytes]]:
    """All that must be equal: the returns, tensors and floors; not what tells of time."""
    names = ("history.safetensors", "policy.safetensors", "checkpoint.safetensors", "floors.json")
    files = {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.name in names}
    return json.loads(out.read_text())["runs"][0]["returns"], files


def damage(home: Path) -> list[Any]:
    """What `data verify` would say."""
    kinds = ["checkpoints", "progress", "floors", "adaptations"]
    kinds += [f"datasets/{path.name}" for path in (home / "datasets").glob("*")]
    return find_damage(Store(home), kinds)[1]


def test_a_run_that_dies_once_ends_the_same(command: Callable[[Path], tuple[str, ...]], tmp_path: Path):
    """At operations spread over the whole run, each time from nothing."""
    out, whole = tmp_path / "out.json", tmp_path / "whole"
    status, total = in_fork(command(whole), out, home=whole)
    assert status == 0
    assert total > 60, "the run should make many files"
    expected = result_of(whole, out)
    left_behind = set()
    for die_at in np.unique(np.linspace(1, total, 16).round().astype(int)):
        home = tmp_path / f"home{die_at}"
        status, _ = in_fork(command(home), out, int(die_at), home)
        assert os.WIFSIGNALED(status)
        assert damage(home) == [], "what a crash leaves must be whole or absent"
        left_behind |= {path.name for path in home.glob("*")}
        status, _ = in_fork(command(home), out, home=home)
        assert status == 0
        assert result_of(home, out) == expected
        assert not list(home.rglob("*.partial"))
    assert left_behind >= {"locks", "datasets", "floors", "progress", "checkpoints", "adaptations"}


def test_a_run_that_dies_again_and_again_ends_the_same(command: Callable[[Path], tuple[str, ...]], tmp_path: Path):
    out, whole, home = tmp_path / "out.json", tmp_path / "whole", tmp_path / "home"
    in_fork(command(whole), out, home=whole)
    expected = result_of(whole, out)
    generator = np.random.default_rng(0)
    for attempt in range(100):
        status, _ = in_fork(command(home), out, int(generator.integers(1, 12 + 5 * attempt)), home)
        if not os.WIFSIGNALED(status):
            break
        assert damage(home) == []
    assert status == 0
    assert attempt > 5
    assert result_of(home, out) == expected
