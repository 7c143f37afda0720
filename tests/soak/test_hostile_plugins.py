"""Plugins that do what none should: they hurt the run that asks for them, in words, and nothing else.

Plugins are code and trusted (SECURITY.md), so this is about accidents. How the toy's own faults end (NaN, wrong shapes,
actions out of range, exits in a worker) is held by `tests/harness/test_cli_run.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from .commands.running import Starter, left_over, tensors_below
from .ledgers.ledger import Ledger

SOURCE = Path(__file__).parent / "hostile_distribution"
DONE, FAILED, INTERNAL, PLUGIN, INTERRUPTED = 0, 1, 3, 4, 130
#: How each may end: a fault in a plugin's own code is told as internal, with a traceback where no JSON is asked for.
ENDS = {
    "exits-on-import": {PLUGIN},
    "raises-on-import": {PLUGIN},
    "prints-on-import": {DONE},
    "no-such-module": {PLUGIN},
    "no-such-name": {PLUGIN},
    "no-method": {PLUGIN},
    "[bold]x[/bold]": {PLUGIN},
    "..-..-up": {PLUGIN},
    "writes-in-place": {DONE},
    "keeps-threads": {DONE},
    "turns-switches": {DONE, FAILED},
    "moves-away": {DONE},
    "closes-output": {DONE, FAILED},
    "names-with-markup": {DONE},
    "tensors-with-paths": {DONE, FAILED, PLUGIN},
    "not-finite-state": {FAILED, INTERNAL, PLUGIN},
    "objects-as-tensors": {PLUGIN},
    "no-checkpoint": {FAILED, INTERNAL, PLUGIN},
    "raises-base": {FAILED, INTERNAL, PLUGIN},
    "recurses": {FAILED, INTERNAL, PLUGIN},
    "huge-report": {DONE},
}


def command(starter: Starter, method: str, home: Path) -> list[str | Path]:
    fixed = ["run", "-m", method, "-e", "toy-point", "-p", starter.site / "toy.toml", "--device", "cpu", "--jobs", "1"]
    return [*fixed, "--home", home, "--json"]


@pytest.fixture(scope="module")
def hostile(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Commands of an installation that has the hostile distribution."""
    folder = tmp_path_factory.mktemp("hostile") / "site"
    shutil.copytree(site, folder)
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    starter = Starter(folder, folder.parent / "tmp")
    yield starter
    starter.close()


@pytest.fixture(scope="module")
def healthy(hostile: Starter, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, dict[str, bytes]]:
    """A home with the toy's run: its row and its bytes."""
    folder = tmp_path_factory.mktemp("healthy")
    home = folder / "home"
    hostile.warm(command(hostile, "toy-method", folder / "warm"))
    return home, hostile.run(command(hostile, "toy-method", home), folder).row(), tensors_below(home)


def test_every_one_has_an_end():
    (entry_points,) = SOURCE.glob("*.dist-info/entry_points.txt")
    names = {point.name for point in Distribution.at(entry_points.parent).entry_points}
    assert names == {*ENDS, "loops-on-import"}


def test_listing_imports_none_of_them(hostile: Starter, healthy: Any, ledger: Ledger, tmp_path: Path):
    listed = hostile.run(["plugins", "list", "--no-load", "--json"], tmp_path)
    ledger.note("plugins list", None if listed.status == 0 and "hostile-parts" in listed.out else listed.said[-500:])
    shown = hostile.run(["plugins", "list", "--no-load"], tmp_path)
    ledger.note("plugins list", None if "[bold]x[/bold]" in shown.out.replace("\n", "") else shown.said[-500:])
    ledger.settle()


def problem(hostile: Starter, method: str, home: Path, row: Any, tensors: dict[str, bytes], out: Path) -> str | None:
    """What went wrong with a hostile run in a healthy home, and with the healthy run after it."""
    outside = {path.name for path in home.parent.iterdir()}
    running = hostile.start(command(hostile, method, home), out)
    ended = running.wait(60)
    if ended.status not in ENDS[method]:
        return f"ended with {ended.status}: {ended.said[-600:]}"
    document = json.loads(ended.out)  # one document and nothing else
    if ended.status and not (document["error"]["message"] and document["error"]["hint"]):
        return f"no words: {document}"
    if left := running.orphans():
        return f"left processes {left}"
    if {path.name for path in home.parent.iterdir()} != outside:
        return "wrote outside its home"
    verified = hostile.run(["data", "verify", "--home", home, "--json"], out)
    if verified.status != 0:
        return f"left damage: {verified.said[-600:]}"
    after = hostile.run(command(hostile, "toy-method", home), out)
    if after.status != 0 or after.row() != row:
        return f"hurt the healthy run: {after.said[-600:]}"
    found = tensors_below(home)
    if any(found.get(name) != content for name, content in tensors.items()):
        return "changed a healthy artefact"
    shown = hostile.run(["leaderboard", "show", "--home", home], out)
    if shown.status != 0 or "\x1b[31m" in shown.out:
        return f"leaderboard show ended with {shown.status}: {shown.said[-600:]}"
    return "; ".join(left_over(home, hostile.temporary)) or None


@pytest.mark.parametrize("method", ENDS)
def test_it_hurts_nobody_else(
    method: str, hostile: Starter, healthy: tuple[Path, Any, dict[str, bytes]], ledger: Ledger, tmp_path: Path
):
    whole, row, tensors = healthy
    home, out = tmp_path / "work" / "home", tmp_path / "out"
    shutil.copytree(whole, home)
    ledger.note(method, problem(hostile, method, home, row, tensors, out))
    ledger.settle()


def test_an_endless_import_can_be_interrupted(hostile: Starter, healthy: Any, ledger: Ledger, tmp_path: Path):
    running = hostile.start(command(hostile, "loops-on-import", tmp_path / "home"), tmp_path / "out")
    time.sleep(2)
    os.kill(running.pid, signal.SIGINT)
    ended = running.wait(30)
    ledger.note("loops-on-import", None if ended.status == INTERRUPTED else f"{ended.status}: {ended.said[-500:]}")
    ledger.settle()
