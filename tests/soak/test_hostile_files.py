"""Readers of files that come from anywhere: published runs, protocols, manifests, safetensors, histories by others.

What a published file's fields may be is held by `tests/leaderboards/exchange/test_hostile_files.py`, what a file of histories
may be by `tests/harness/artefacts/test_hostile_imports.py`; here mutations of a corpus look for what nobody thought of
(`readers/fuzz_readers.py`, a process of its own: what it watches can't be unwatched). In full the guided search takes ten
minutes over all readers, and what it kept lies in `build/soak-corpus` for the next one.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .ledgers.ledger import Ledger, Size

ROOT = Path(__file__).parents[2]
READERS = Path(__file__).parent / "readers"
CORPUS = READERS / "corpus"
GROWN = ROOT / "build" / "soak-corpus"
SEARCH_SECONDS = 600  # over all readers
#: Well-formed files of the repository, to mutate; what is hostile lies in the corpus.
GOOD = {
    "published": "leaderboards/published/smoke-v1/reacher-goal-v1-task-blind-*.json",
    "protocol": "tests/**/*.toml",
    "manifest": "",
    "tensors": "",
    "state": "",
    "archive": "",
    "columns": "",
    "episodes": "",
    "metadata": "",
    "source": "",
}


def gather(reader: str, seeds: Path) -> None:
    """Copies what a reader's search begins with."""
    shutil.copytree(CORPUS / ("tensors" if reader == "state" else reader), seeds / reader)
    for path in ROOT.glob(GOOD[reader]) if GOOD[reader] else ():
        shutil.copy(path, seeds / reader / path.name)
    if (GROWN / reader).is_dir():
        shutil.copytree(GROWN / reader, seeds / reader, dirs_exist_ok=True)


def test_mutated_files(size: Size, ledger: Ledger, tmp_path: Path):
    """One process a reader; in the gate one for all, as it takes longer to start than to read."""
    if importlib.util.find_spec("h5py") is None:
        GOOD.pop("episodes")
        GOOD.pop("metadata")
    seconds, runs = size.pick(240, 40, SEARCH_SECONDS // len(GOOD)), size.pick(100, 3000, 10**9)
    seeds, scratch = tmp_path / "seeds", tmp_path / "scratch"
    for group in [",".join(GOOD)] if size is Size.small else [*GOOD]:
        scratch.mkdir()
        for reader in group.split(","):
            gather(reader, seeds)
        command = [sys.executable, READERS / "fuzz_readers.py", group, seeds, str(seconds), str(runs), scratch]
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + 600, cwd=tmp_path, check=False
        )
        counted = scratch / "count"
        count = int(counted.read_text()) if counted.exists() else 0
        ledger.tried += count
        ledger.survived += count
        ledger.note(group, None if count > 50 and ended.returncode == 0 else f"{count} read: {ended.stderr[-1500:]}")
        if size is Size.full:
            (GROWN / group).mkdir(parents=True, exist_ok=True)
            for path in (seeds / group).iterdir():
                if re.fullmatch("[0-9a-f]{40}", path.name):
                    shutil.copy(path, GROWN / group / path.name)
        shutil.rmtree(scratch)
    ledger.settle()


def test_the_guided_search_is_installed_where_it_is_asked_for(size: Size):
    assert size is not Size.full or importlib.util.find_spec("atheris"), "pip install 'icrl-bench[soak]'"
