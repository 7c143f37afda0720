"""The CPU's settings are made before PyTorch is there, and whoever set a variable keeps the last word."""

import os
import subprocess
import sys

import pytest

from icrl_bench.machine.cpu_settings import SETTINGS, set_for_training


def test_what_is_set_stays(monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    set_for_training()
    assert all(os.environ[name] == value for name, value in SETTINGS.items())
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    set_for_training()
    assert os.environ["GOMP_SPINCOUNT"] == "7"


PLAN = ["--method", "ad-mamba", "--env", "reacher-goal", "--dry-run"]


@pytest.mark.parametrize(
    ("command", "settings_made"),
    [
        (["run", *PLAN], True),
        (["sweep", "--vary", "method.updates=1,2", *PLAN], True),
        (["bench", "backbones", "--set", "bench.names=nobodys"], True),
        (["bench", "scan", "--set", "bench.threads=0"], False),
    ],
)
def test_they_are_made_before_pytorch_is_imported_where_methods_are_trained(command, settings_made):
    code = (
        "import sys; from icrl_bench.cli import bench; from icrl_bench.cli.runs import run, sweep;"
        "asked = lambda: sys.exit(1 if 'torch' in sys.modules else 0);"
        "bench.set_for_training = run.set_for_training = sweep.set_for_training = asked;"
        "from icrl_bench.cli.main import main;"
        "main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], timeout=120, capture_output=True, text=True, check=False
    )
    assert ("called sys.exit(0)" in done.stderr) == settings_made, done.stderr
