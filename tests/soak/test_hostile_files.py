"""Readers of files that come from anywhere: published runs, protocols, manifests, safetensors.

What a published file's fields may be is held by `tests/leaderboards/exchange/test_hostile_files.py`; here mutations of a
corpus look for what nobody thought of (`readers/fuzz_readers.py`, a process of its own: what it watches can't be unwatched).
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .ledger import Ledger, Size

ROOT = Path(__file__).parents[2]
READERS = Path(__file__).parent / "readers"
CORPUS = READERS / "corpus"
#: Well-formed files of the repository, to mutate; what is hostile lies in the corpus.
GOOD = {
    "published": "leaderboards/published/smoke-v1/reacher-goal-v1-task-blind-*.json",
    "protocol": "tests/**/*.toml",
    "manifest": "",
    "tensors": "",
    "state": "",
}


@pytest.mark.parametrize("reader", GOOD)
def test_mutated_files(reader: str, size: Size, ledger: Ledger, tmp_path: Path):
    seeds, scratch = tmp_path / "seeds", tmp_path / "scratch"
    scratch.mkdir()
    kept = CORPUS / ("tensors" if reader == "state" else reader)
    shutil.copytree(kept, seeds)
    for path in ROOT.glob(GOOD[reader]) if GOOD[reader] else ():
        shutil.copy(path, seeds / path.name)
    seconds, runs = size.pick(120, 40, 600), size.pick(150, 3000, 10**9)
    command = [sys.executable, READERS / "fuzz_readers.py", reader, seeds, str(seconds), str(runs), scratch]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 300, cwd=tmp_path, check=False)
    counted = scratch / "count"
    count = int(counted.read_text()) if counted.exists() else 0
    ledger.tried += count
    ledger.survived += count
    ledger.note(reader, None if count > 50 and ended.returncode == 0 else f"{count} read: {ended.stderr[-1500:]}")
    if size is Size.full:
        for path in seeds.iterdir():  # what the guided search kept
            if not (kept / path.name).exists() and re.fullmatch("[0-9a-f]{40}", path.name):
                shutil.copy(path, kept / path.name)
    ledger.settle()


def test_the_guided_search_is_installed_where_it_is_asked_for(size: Size):
    assert size is not Size.full or importlib.util.find_spec("atheris"), "pip install 'icrl-bench[soak]'"
