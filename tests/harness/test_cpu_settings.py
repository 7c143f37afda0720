"""The CPU's settings are made before PyTorch is there, and whoever set a variable keeps the last word."""

import os
import subprocess
import sys

from icrl_bench.cpu_settings import SETTINGS, set_for_training


def test_what_is_set_stays(monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    set_for_training()
    assert all(os.environ[name] == value for name, value in SETTINGS.items())
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    set_for_training()
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_a_run_sets_them_before_pytorch_is_imported():
    code = (
        "import sys; from icrl_bench.cli import run, sweep;"
        "asked = lambda: sys.exit(1 if 'torch' in sys.modules else 0);"
        "run.set_for_training = sweep.set_for_training = asked;"
        "from icrl_bench.cli.main import main;"
        "main(sys.argv[1:])"
    )
    for command in (["run"], ["sweep", "--vary", "method.updates=1,2"]):
        arguments = [*command, "--method", "ad-mamba", "--env", "reacher-goal", "--dry-run"]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], timeout=120, capture_output=True, text=True, check=False
        )
        assert "called sys.exit(0)" in done.stderr, done.stderr
