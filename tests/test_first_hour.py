"""The first hour, as its page has it: every command of it runs, in its order, and the next finds what the last has left."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[1] / "docs" / "first-hour.md"
#: Commands that make rows; where the page takes the laptop protocol, which takes its hour, the walk takes smoke.
MAKING = {"run", "sweep", "grid"}


def commands() -> list[list[str]]:
    """The commands of the page's shell blocks, as a reader types them."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("icrl-bench ")]
    return [shlex.split(line)[1:] for line in lines]


def at_a_walking_pace(words: list[str]) -> list[str]:
    if words[0] in MAKING and "--protocol" not in words:
        return [*words, "--protocol", "smoke"]
    return words


def test_the_walk(tmp_path: Path):
    variables = {**os.environ, "ICRL_BENCH_HOME": str(tmp_path / "home"), "COLUMNS": "100"}
    typed = commands()
    assert [words[0] for words in typed[:2]] == ["doctor", "run"]
    assert len(typed) >= 9
    said = {}
    for words in typed:
        command = [sys.executable, "-m", "icrl_bench.cli.main", *at_a_walking_pace(words)]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        said[shlex.join(words)] = done.stdout
    shown = said["icrl-bench leaderboard show".removeprefix("icrl-bench ")]
    assert "ad-mamba" in shown
    assert "oracle" in shown
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000
    assert (tmp_path / "adapt.gif").read_bytes().startswith(b"GIF8")
    plan = next(text for words, text in said.items() if "--dry-run" in words)
    assert re.search(r"^  time     ", plan, re.MULTILINE)
