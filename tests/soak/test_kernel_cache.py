"""A compiled kernel's file, damaged in every way: compiled anew with one warning, and the numbers stay the same.

What is loaded is machine code: a file that belongs to another kernel is as bad as one that was changed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .ledgers.ledger import Ledger, Size
from .test_damage import damages

#: Two kernels, and for each line of input a process that has compiled neither runs both; says what they did and warned.
RUNS = """
import json, os, sys, warnings
import numpy as np
from icrl_plugins.kernels.runtime.jit import compiled

@compiled
def double(values):
    for at in range(values.size):
        values[at] *= 2.0

@compiled
def decrease(values):
    for at in range(values.size):
        values[at] -= 7.0

for line in sys.stdin:
    if not os.fork():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            values = np.linspace(-3, 3, 5)
            double(values)
            decrease(values)
        print(json.dumps([values.tolist(), [str(each.message) for each in caught]]), flush=True)
        os._exit(0)
    if os.wait()[1]:
        print(json.dumps([None, []]), flush=True)
"""
EXPECTED = [2.0 * value - 7.0 for value in (-3.0, -1.5, 0.0, 1.5, 3.0)]


@dataclass
class Kernels:
    """Processes with one cache directory."""

    folder: Path
    process: subprocess.Popen[str]

    def run(self) -> tuple[Any, list[str]]:
        """What the kernels computed (None: the process broke), and the warnings."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        numbers, warnings = json.loads(self.process.stdout.readline())
        return numbers, warnings

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def kernels(tmp_path: Path) -> Iterator[Kernels]:
    folder, script = tmp_path / "cache", tmp_path / "runs.py"
    script.write_text(RUNS)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Kernels(folder, process)
        assert process.stdin is not None
        process.stdin.close()


def problem(kernels: Kernels, damaged: Path | None) -> str | None:
    """What a run with a damaged file does otherwise, and the run after it."""
    numbers, warned = kernels.run()
    if numbers != EXPECTED:
        return f"other numbers: {numbers}"
    told = [text for text in warned if damaged is not None and str(damaged) in text]
    if warned != told or len(told) != (damaged is not None):
        return f"warned {warned}"
    again = kernels.run()
    return None if again == (EXPECTED, []) else f"not mended: {again}"


def test_a_damaged_kernel_is_compiled_anew(kernels: Kernels, size: Size, ledger: Ledger):
    assert kernels.run() == (EXPECTED, [])
    paths, generator = kernels.files(), np.random.default_rng(27)
    assert len(paths) == 2
    for path in paths:
        whole = path.read_bytes()
        positions = np.linspace(0, len(whole) - 1, size.pick(3, 12, 24)).astype(int)  # a header, then machine code
        chosen = list(damages(whole, positions, generator))
        if size is not Size.full:
            chosen = [chosen[index] for index in generator.choice(len(chosen), size.pick(2, 9, 0), replace=False)]
        for what, content in chosen:
            path.unlink() if content is None else path.write_bytes(content)
            ledger.note(f"{path.name}, {what}", problem(kernels, None if content in (None, whole) else path))
            path.write_bytes(whole)
    assert kernels.files() == paths, "temporary files stay"
    ledger.settle()


def test_a_kernel_in_anothers_place_is_compiled_anew(kernels: Kernels, ledger: Ledger):
    kernels.run()
    first, second = kernels.files()
    for one, other in ((first, second), (second, first)):
        whole = one.read_bytes()
        shutil.copy(other, one)
        ledger.note(f"{other.name} as {one.name}", problem(kernels, one))
        one.write_bytes(whole)
    ledger.settle()
