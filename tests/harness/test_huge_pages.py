"""Huge pages are asked for before PyTorch is there, and whoever set the variable keeps the last word."""

import os
import subprocess
import sys

from icrl_bench.huge_pages import use_huge_pages


def test_what_is_set_stays(monkeypatch):
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    use_huge_pages()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    use_huge_pages()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"


def test_a_run_asks_before_pytorch_is_imported():
    code = (
        "import sys; from icrl_bench.cli import run, sweep;"
        "asked = lambda: sys.exit(1 if 'torch' in sys.modules else 0);"
        "run.use_huge_pages = sweep.use_huge_pages = asked;"
        "from icrl_bench.cli.main import main;"
        "main(sys.argv[1:])"
    )
    for command in (["run"], ["sweep", "--vary", "method.updates=1,2"]):
        arguments = [*command, "--method", "ad-mamba", "--env", "reacher-goal", "--dry-run"]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], timeout=120, capture_output=True, text=True, check=False
        )
        assert "called sys.exit(0)" in done.stderr, done.stderr
