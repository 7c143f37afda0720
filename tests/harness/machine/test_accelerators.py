"""What the doctor says of CUDA kernels: those that run, and what is missing of those that don't."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from icrl_bench.machine import accelerators
from icrl_bench.machine.accelerators import KERNELS, state_of

SCAN = KERNELS[0]


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(accelerators, "version", lambda name: "2.2.4")
    monkeypatch.setattr(accelerators.importlib, "import_module", lambda name: SimpleNamespace(selective_scan_fn=len))


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.distribution)
def test_a_package_that_is_not_there(kernel, monkeypatch):
    monkeypatch.setitem(sys.modules, kernel.module.partition(".")[0], None)

    def missing(name):
        raise accelerators.PackageNotFoundError(name)

    monkeypatch.setattr(accelerators, "version", missing)
    runs, words = state_of(kernel, has_gpu=True)
    assert not runs
    assert f"{kernel.distribution} is not installed (pip install 'icrl-bench[cuda]')" in words
    assert "no CUDA device" not in words
    assert "no CUDA device" in state_of(kernel, has_gpu=False)[1]


def test_a_package_for_another_torch(installed, monkeypatch):
    def broken(name):
        raise ImportError("undefined symbol: _ZN3c10\nmore")

    monkeypatch.setattr(accelerators.importlib, "import_module", broken)
    runs, words = state_of(SCAN, has_gpu=True)
    assert not runs
    assert words == (
        "selective scan: mamba-ssm 2.2.4 cannot be imported (ImportError: undefined symbol: _ZN3c10); "
        "build it for this torch and CUDA"
    )


def test_a_package_with_and_without_a_device(installed):
    assert state_of(SCAN, has_gpu=True) == (True, "selective scan: mamba-ssm 2.2.4")
    assert state_of(SCAN, has_gpu=False) == (False, "selective scan: mamba-ssm 2.2.4 is there, but no CUDA device")


def test_they_are_the_functions_that_the_operations_call():
    """By the text of the operations: they import them only on a GPU."""
    folder = Path(__file__).parents[3] / "plugins" / "icrl_plugins" / "kernels"
    text = "".join(path.read_text() for path in folder.glob("*/operation.py"))
    for kernel in KERNELS:
        assert f"from {kernel.module} import {kernel.function}" in text
