"""What the command line costs before it does anything, and the commands that only look."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icrl_registry import __version__

Run = Callable[..., Any]
HEAVY = ("torch", "ray", "mujoco", "pandas", "stable_baselines3", "matplotlib", "numba", "sqlalchemy")
ENVIRONMENTS = ("reacher-goal", "pusher-goal", "half-cheetah-vel", "ant-dir")
COUNTS = {"reacher-goal": 70, "pusher-goal": 35, "half-cheetah-vel": 15, "ant-dir": 30}


def start(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["grid", "--help"], ["plugins", "list", "--no-load"], ["--version"]]
)
def test_nothing_heavy_is_imported(arguments: list[str]):
    code = (
        "import sys\nfrom icrl_bench.cli.main import main\n"
        f"try: main({arguments!r})\nexcept SystemExit as error: assert not error.code, error.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    result = start(code)
    assert result.stderr.splitlines()[-1] == "[]"
    assert result.stdout


def processor_seconds(*arguments: str) -> float:
    """Processor time of a Python process, the least of three: what the wall clock shows is up to the machine's other work."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(3))


def test_help_takes_less_than_half_a_second():
    """On a machine where the libraries that it stands on take 0.26 s; on a slower one as many times longer."""
    libraries = processor_seconds("-c", "import gymnasium, numpy, pydantic, rich.console, typer")
    assert processor_seconds("-m", "icrl_bench.cli.main", "--help") < 0.5 * max(1.0, libraries / 0.26)


def test_help_lists_every_command_and_its_purpose(cli: Run):
    text = cli("--help").out
    for command in ("run", "tasks", "doctor", "plugins", "data", "leaderboard"):
        assert command in text
    text = " ".join(cli("run", "--help").out.split())
    for option in (
        "--method", "--env", "--protocol", "--seeds", "--track", "--device", "--set", "--config", "--home",
        "--leaderboard", "--jobs", "--dry-run", "--json",
    ):  # fmt: skip
        assert option in text


@pytest.mark.parametrize("arguments", [[], ["leaderboard"], ["data"], ["plugins"]])
def test_a_command_alone_shows_its_help(cli: Run, arguments: list[str]):
    output = cli(*arguments)
    assert output.code == 2
    assert output.out.startswith("Usage: icrl-bench")
    assert output.err == ""
    assert cli(*arguments, "--json").error["kind"] == "usage"


def test_help_is_short_as_well(cli: Run):
    for arguments in ([], ["run"], ["leaderboard", "show"]):
        short, long = cli(*arguments, "-h"), cli(*arguments, "--help")
        assert (short.code, short.err) == (0, "")
        assert short.out == long.out


ENCODED = (
    ["--help"],
    ["run", "--help"],
    ["leaderboard", "show", "--help"],
    ["tasks", "reacher-goal"],
    ["data", "list"],
)


@pytest.mark.parametrize("arguments", ENCODED, ids=" ".join)
@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "ascii:strict"])
def test_any_encoding_of_the_output_will_do(tmp_path: Path, arguments: list[str], encoding: str):
    """As in a Latin-1 locale, with PYTHONIOENCODING, or in a pipe of an old tool."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "ICRL_BENCH_HOME": str(tmp_path / "hömé…")}
    command = [sys.executable, "-m", "icrl_bench.cli.main", *arguments]
    result = subprocess.run(command, capture_output=True, timeout=300, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout
    if encoding == "latin-1":
        assert "…".encode() not in result.stdout


def test_text_beyond_the_encoding_is_written_in_ascii():
    code = (
        "import sys; from icrl_bench.machine.streams import accept_any_text; accept_any_text();"
        r"sys.stdout.write('a\u2026 \xb11 \xd7 \xe9 \u4e16 \udcff')"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=300, env=environment, check=True)
    assert result.stdout.decode("latin-1") == r"a... ±1 × é \u4e16 \udcff"


def test_the_version(cli: Run):
    assert cli("--version").out.strip() == __version__


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["data", "nonsense"], ["tasks"]])
def test_what_is_no_command_is_usage(cli: Run, arguments: list[str]):
    output = cli(*arguments, "--json")
    assert output.code == 2
    assert output.error["kind"] == "usage"
    assert "--help" in output.error["hint"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_tasks(cli: Run, environment: str):
    document = cli("tasks", environment, "--json").document
    assert document["env"] == f"{environment}-v{2 if environment == 'pusher-goal' else 1}"
    assert document["protocol"].startswith("laptop-v")
    assert {split: len(tasks) for split, tasks in document["tasks"].items()} == {
        "train": COUNTS[environment],
        "validation": 5,
        "test": 10,
    }
    assert all(len(task) == len(document["parameter_names"]) for task in document["tasks"]["test"])
    first, paper = (cli("tasks", environment, "-p", name, "--json").document for name in ("laptop-v1", "paper"))
    assert first["env"] == paper["env"] == f"{environment}-v1"
    assert first["sha256"] == paper["sha256"]
    text = cli("tasks", environment).out
    assert "test-009" in text


def test_tasks_of_what_does_not_exist(cli: Run):
    output = cli("tasks", "reacher-gaol", "--json")
    assert output.code == 2
    assert "reacher-goal" in output.error["hint"]
    assert cli("tasks", "reacher-goal", "-p", "labtop", "--json").error["hint"].startswith("did you mean laptop")


def test_a_bus_error_says_where():
    """A mapped file that cannot be read ends the process itself: more than "Bus error" is for no program to say."""
    script = """
        import os, signal
        from icrl_bench.cli import main
        def read_a_history(*arguments, **options):
            os.kill(os.getpid(), signal.SIGBUS)
        main.app = read_a_history
        main.main([])
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGBUS
    assert "Bus error" in ended.stderr
    assert "read_a_history" in ended.stderr


def test_doctor(cli: Run, tmp_path: Path):
    output = cli("doctor", "--json")
    findings = {finding["name"]: finding for finding in output.document["findings"]}
    assert set(findings["versions"]) == {"name", "status", "message"}
    assert {"versions", "device", "mujoco", "home"} <= set(findings)
    assert findings["home"]["message"].startswith(str(tmp_path / "home"))
    assert "torch" in findings["versions"]["message"]
    assert "to load and run" in findings["mamba"]["message"], "a kernel is loaded, as a run would"
    assert findings["rendering"]["status"] == "ok"
    assert "egl" in findings["rendering"]["message"]
    assert "MP4" in findings["rendering"]["message"]
    assert output.code == (1 if any(f["status"] == "problem" for f in findings.values()) else 0)
    assert not list((tmp_path / "home").iterdir()), "the doctor leaves nothing behind"
    assert "simulates" in cli("doctor").out


def test_doctor_names_a_broken_plugin(cli: Run, toy: Path):
    points = toy / "toy_parts-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().replace("toy_parts:ToyMethod", "toy_parts:Nothing"))
    output = cli("doctor", "--json")
    assert output.code == 1
    (problem,) = [finding for finding in output.document["findings"] if finding["status"] == "problem"]
    assert problem["name"] == "toy-method"
    assert "toy-parts" in problem["message"]


BENCHMARKS = """
class Healthy:
    Config, quick, run = object, {}, None

    @staticmethod
    def check():
        return "the abacus counts to nine"


class Ill(Healthy):
    @staticmethod
    def check():
        raise RuntimeError("a bead is missing")


class Silent:
    Config, quick, run = object, {}, None
"""


def test_doctor_asks_the_benchmarks_that_can_check_this_machine(cli: Run, toy: Path):
    (toy / "toy_benchmarks.py").write_text(BENCHMARKS)
    points = toy / "toy_parts-1.0.dist-info" / "entry_points.txt"
    named = (f"toy-{name.lower()} = toy_benchmarks:{name}" for name in ("Healthy", "Ill", "Silent", "Missing"))
    points.write_text("\n".join((points.read_text(), "[icrl_bench.benchmarks]", *named, "")))
    output = cli("doctor", "--json")
    found = {each["name"]: (each["status"], each["message"]) for each in output.document["findings"]}
    assert output.code == 1
    assert found["toy-healthy"] == ("ok", "the abacus counts to nine")
    assert found["toy-ill"] == ("problem", "RuntimeError: a bead is missing")
    assert "toy-silent" not in found
    assert found["toy-missing"][0] == "problem"
    assert found["scan"][0] == "ok"
    assert found["scan"][1].startswith("kernels compile and run")


def test_doctor_says_that_the_home_is_of_no_use(cli: Run, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    output = cli("doctor", "--json", "--home", tmp_path / "file" / "below")
    assert output.code == 1
    (problem,) = [finding for finding in output.document["findings"] if finding["status"] == "problem"]
    assert problem["name"] == "home"


def test_output_ends_quietly_where_the_reader_goes(tmp_path: Path):
    command = f"{sys.executable} -m icrl_bench.cli.main tasks reacher-goal --json | head -c 1"
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=300, env={**os.environ}
    )
    assert result.returncode == 0
    assert result.stderr == ""


def test_broken_plugins_exit_with_4(cli: Run, toy: Path):
    (toy / "toy_parts.py").write_text("raise ImportError('libtoy.so is missing')")
    output = cli("run", "--json", "-m", "task-blind", "-e", "toy-point", "-p", toy / "toy.toml")
    assert output.code == 4
    assert output.error["kind"] == "plugin"
    assert "libtoy.so is missing" in output.error["message"]
    assert "toy-parts" in output.error["message"]
    assert json.loads(cli("tasks", "reacher-goal", "--json").out)["env"] == "reacher-goal-v1"
