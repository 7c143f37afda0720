"""The SLURM script of docs/many-machines.md, with commands of SLURM's names that start the real Ray on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray")

PAGE = Path(__file__).parents[3] / "docs" / "many-machines.md"
WORK = "--protocol laptop"
TIMEOUT = 900.0
#: Runs the command here, as one node of several on one machine: with little memory, and no ports that two would want.
SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 == -w ]] && { echo "$2" >> "$NODES"; shift; }; shift; done
exec "$@" --object-store-memory=80000000 --include-dashboard=false --temp-dir="$RAY_FOLDER"
"""
SCONTROL = """#!/bin/bash
[[ "$*" == "show hostnames here,there" ]] && printf '127.0.0.1\\n127.0.0.1\\n'
"""


def script() -> str:
    """The block of the page that begins with `#!/bin/bash`."""
    (found,) = re.findall(
        r"^```bash\n(#!/bin/bash\n.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return found


@pytest.fixture
def allocation(toy: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What SLURM tells a job of two nodes, one of whose cores each it has; a home with the package in it."""
    commands, home = tmp_path / "commands", tmp_path / "home"
    commands.mkdir()
    ray_command = f'#!/bin/bash\nexec {sys.executable} -m ray.scripts.scripts "$@"\n'
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("ray", ray_command)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    activate = home / "icrl-bench" / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f"PATH={Path(sys.executable).parent}:$PATH\n")
    ray = tempfile.mkdtemp(prefix="ray-")  # a short path: a socket's has at most 107 characters
    yield {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_"))},
        "PATH": f"{commands}:{os.environ['PATH']}",
        "HOME": str(home),
        "PYTHONPATH": str(toy),
        "NODES": str(tmp_path / "nodes"),
        "RAY_FOLDER": ray,
        "RAY_worker_niceness": "0",
        "SLURM_TMPDIR": str(tmp_path),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "here,there",
        "SLURM_CPUS_PER_TASK": "1",
    }
    shutil.rmtree(ray, ignore_errors=True)


def test_the_script_is_bash(tmp_path: Path):
    text = script()
    assert text.count(WORK) == 1
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.slow
def test_the_script_starts_ray_on_every_node_and_makes_the_grid(allocation: dict[str, str], toy: Path, tmp_path: Path):
    grid = f"-p {toy / 'toy.toml'} --envs toy-point --methods toy-method --seeds 0,1 --device cpu --json"
    file = tmp_path / "grid.sh"
    file.write_text(script().replace(WORK, grid))
    with (tmp_path / "said").open("w") as said:
        job = subprocess.Popen(
            ["bash", file],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=allocation,
            cwd=tmp_path,
            start_new_session=True,
        )
        try:
            lines = iter(job.stdout.readline, "")  # its nodes hold the pipe open: they end with the job, as in SLURM
            document = next((json.loads(line) for line in lines if line.startswith('{"protocol"')), None)
            code = job.wait(TIMEOUT)
        finally:
            os.killpg(job.pid, signal.SIGKILL)
            job.stdout.close()
    assert code == 0, (tmp_path / "said").read_text()[-3000:]
    assert [row["state"] for row in document["rows"]] == ["done", "done"]
    assert len((tmp_path / "nodes").read_text().split()) == 2
    (events,) = tmp_path.glob("grid-*.jsonl")
    assert json.loads(events.read_text().splitlines()[-1])["event"] == "ended"
    assert not list(tmp_path.glob("icrl-bench-*/*"))
