"""Plugins by others, end to end: real distributions, installed into an environment of their own beside a built icrl-bench.

The new environment sees the libraries of the one that runs the tests through a `.pth` file, so nothing is downloaded;
icrl-bench itself is installed anew, from a wheel of this checkout.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TINY = (
    "source.name=hill-climb",
    "source.total_steps=400",
    "collect.train_tasks=3",
    "method.updates=10",
    "adapt.episodes=3",
)


class Installation:
    """An environment in which commands can be run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.home = folder / "home"
        self.log = folder / "hooks.log"

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        variables = {
            **os.environ,
            "ICRL_BENCH_HOME": str(self.home),
            "ICRL_THIRD_PARTY_LOG": str(self.log),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        variables.pop("PYTHONPATH", None)
        return subprocess.run(
            [str(self.python), *command], capture_output=True, text=True, env=variables, cwd=self.folder, check=False
        )

    def bench(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.execute("-m", "icrl_bench.cli.main", *arguments)

    def document(self, *arguments: str) -> Any:
        done = self.bench(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def install(self, folder: Path) -> None:
        options = ["--no-build-isolation", "--no-deps", "--no-index", "--ignore-installed", "--quiet"]
        done = self.execute("-m", "pip", "--disable-pip-version-check", "install", *options, str(folder))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("installation")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    installation = Installation(folder)
    paths = sysconfig.get_paths()
    site = installation.execute("-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").stdout.strip()
    further = [path for path in sys.path if Path(path).name == "site-packages"]  # of the environments behind this one
    libraries = dict.fromkeys([paths["purelib"], paths["platlib"], *further])
    (Path(site) / "libraries_of_the_tests.pth").write_text("\n".join(libraries))
    for each in (ROOT, ROOT / "tests" / "third_party", ROOT / "tests" / "third_party_broken"):
        installation.install(each)
    return installation


def test_the_plugins_run_from_the_new_environment(installed: Installation):
    code = (
        "import icrl_bench as b, icrl_registry as r, icrl_third_party as t; print(b.__file__, r.__file__, t.__file__)"
    )
    places = installed.execute("-c", code).stdout.split()
    assert len(places) == 3
    assert all(place.startswith(str(installed.folder)) for place in places)


def test_list_shows_every_plugin_and_the_broken_one_with_its_error(installed: Installation):
    rows = {(row["kind"], row["name"]): row for row in installed.document("plugins", "list")["plugins"]}
    for kind, name in [
        ("environment", "line-goal-v1"),
        ("environment", "switched-motor-v1"),
        ("environment", "two-ends-v1"),
        ("environment", "dark-corridor-v1"),
        ("source", "hill-climb"),
        ("backbone", "moving-average"),
        ("method", "best-so-far"),
        ("method", "copycat"),
        ("hooks", "third-party"),
    ]:
        assert rows[kind, name]["status"] == "ok", rows[kind, name]
        assert rows[kind, name]["distribution"] == "icrl-third-party"
        assert rows[kind, name]["distribution_version"] == "0.3.0"
    broken = rows["method", "broken"]
    assert broken["status"] == "broken"
    assert "libtensor.so.3" in broken["error"]
    assert "icrl-broken 0.0.1" in broken["error"]
    assert rows["method", "ad"]["status"] == "ok"


@pytest.mark.parametrize(
    "name",
    [
        "line-goal",
        "switched-motor",
        "two-ends",
        "dark-corridor",
        "hill-climb",
        "moving-average",
        "best-so-far",
        "copycat",
    ],
)
def test_the_plugins_keep_their_contracts(installed: Installation, name: str):
    assert installed.document("plugins", "check", name)["passed"] is True


@pytest.mark.parametrize("name", ["corridors-v1", "third-party-v1"])
def test_the_protocols_can_be_planned(installed: Installation, name: str):
    assert installed.document("plugins", "check", name, "--kind", "protocol")["passed"] is True


@pytest.fixture(scope="module")
def row(installed: Installation) -> Any:
    """The row of a run with nothing but plugins by others."""
    (row,) = installed.document("run", *run_arguments("copycat-moving-average"))["runs"]
    return row


def test_a_run_with_nothing_but_plugins_by_others(installed: Installation, row: Any):
    assert (row["method"], row["env"]) == ("copycat-moving-average", "line-goal-v1")
    assert len(row["returns"]) == 4
    assert {len(episodes) for episodes in row["returns"]} == {3}
    assert all(-40.0 <= value <= 0.0 for episodes in row["returns"] for value in episodes)
    log = [json.loads(line) for line in installed.log.read_text().splitlines()]
    assert {"result": row["run_id"]} in log
    assert {"progress": "stage_started"} in log


def test_the_smallest_method_runs_and_shares_the_histories(installed: Installation, row: Any):
    (other,) = installed.document("run", *run_arguments("best-so-far"))["runs"]
    assert other["dataset"] == row["dataset"]
    assert other["returns"] != row["returns"]


def test_a_built_in_method_takes_the_backbone(installed: Installation):
    plan = installed.document("run", *run_arguments("ad-moving-average"), "--dry-run")["plan"]
    assert plan["method"] == "ad-moving-average"


def test_a_changed_plugin_gets_a_new_address(installed: Installation, row: Any):
    code = "import icrl_third_party.backbone as module; print(module.__file__)"
    path = Path(installed.execute("-c", code).stdout.strip())
    source = path.read_text()
    path.write_text(source + "\nedition = 2\n")
    try:
        plan = installed.document("run", *run_arguments("copycat-moving-average"), "--dry-run")["plan"]
    finally:
        path.write_text(source)
    assert plan["dataset"] == row["dataset"]
    assert plan["runs"][0]["checkpoint"] != row["checkpoint"]
    assert plan["runs"][0]["run_id"] != row["run_id"]


@pytest.mark.parametrize("name", ["broken", "broken-gru"])
def test_running_the_broken_plugin_says_whose_it_is(installed: Installation, name: str):
    done = installed.bench("run", *run_arguments(name), "--json")
    assert done.returncode == 4
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "plugin"
    assert "icrl-broken" in error["message"]
    assert "pip uninstall icrl-broken" in error["hint"]


def test_the_command_of_a_plugin_is_there(installed: Installation):
    done = installed.bench("greet")
    assert done.returncode == 0
    assert done.stdout == "hello from outside\n"


def test_a_module_of_hooks_that_cannot_be_imported_is_only_a_warning(installed: Installation):
    done = installed.bench("plugins", "list", "--no-load")
    assert done.returncode == 0
    assert "icrl-broken" in done.stderr


def run_arguments(method: str) -> list[str]:
    settings = [setting for setting in TINY if method.startswith("copycat") or not setting.startswith("method.")]
    chosen = [argument for setting in settings for argument in ("--set", setting)]
    return ["--method", method, "--env", "line-goal", "--protocol", "smoke", "--device", "cpu", *chosen]


# --- A protocol of its own, on data that it brings along ----------------------------------------------------------------


OWN = ("--env", "line-goal", "--protocol", "third-party", "--device", "cpu")


def test_its_protocol_is_found_and_fits(installed: Installation):
    checked = installed.document("plugins", "check", "third-party", "--kind", "protocol")
    assert (checked["distribution"], checked["passed"]) == ("icrl-third-party", True)


def test_a_run_a_sweep_and_a_published_row_on_its_data(installed: Installation):
    """From the data in the package to a row that a colleague verifies: no line of ours names any part of it."""
    (row,) = installed.document("run", "--method", "copycat-moving-average", *OWN)["runs"]
    manifest = json.loads((ROOT / "tests/third_party/icrl_third_party/histories/manifest.json").read_text())
    kept = {each["address"]: each for each in installed.document("data", "list")["datasets"]}
    dataset = kept[row["dataset"]]
    assert (dataset["source"], dataset["tasks_done"]) == ("imported", 8)
    assert dataset["env_steps"] == sum(entry["steps"] for entry in manifest["histories"])
    sweep = installed.document("sweep", "--method", "copycat-moving-average", "--vary", "method.updates=5,10", *OWN)
    assert [cell["status"] for cell in sweep["cells"]] == ["done", "done"]
    installed.document("leaderboard", "submit", row["run_id"], "--out", str(installed.folder / "published"))
    verified = installed.document("leaderboard", "verify", str(installed.folder / "published"))
    checks = {check["name"]: check["status"] for check in verified["runs"][0]["checks"]}
    assert {checks["splits"], checks["episodes"], checks["settings"], checks["run id"]} == {"ok"}


# --- Families of other kinds --------------------------------------------------------------------------------------------


FAMILIES = {  # environment → a method that learns its actions, under the protocol that the distribution ships for it
    "switched-motor": "copycat-moving-average",
    "two-ends": "copycat-moving-average",
    "dark-corridor": "ad-moving-average",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_that_differs_in_dynamics_has_two_tasks_or_discrete_actions(installed: Installation, family: str):
    """Run, swept, published and verified under the protocol that it brings along, which nobody names."""
    what = ("--method", FAMILIES[family], "--env", family, "--device", "cpu")
    (row,) = installed.document("run", *what, "--set", "method.updates=8")["runs"]
    assert (row["env"], row["protocol"].partition("+")[0]) == (f"{family}-v1", "corridors-v1")
    tasks = installed.document("tasks", family)["tasks"]
    assert row["task_parameters"] == tasks["test"]
    if family == "two-ends":
        assert tasks["train"] == tasks["test"] == [[-1.0], [1.0]]
    sweep = installed.document("sweep", *what, "--vary", "method.updates=4,8")
    assert [cell["status"] for cell in sweep["cells"]] == ["done", "done"]
    place = str(installed.folder / f"published-{family}")
    installed.document("leaderboard", "submit", row["run_id"], "--out", place)
    (verified,) = installed.document("leaderboard", "verify", place)["runs"]
    assert verified["run_id"] == row["run_id"]
    assert {check["status"] for check in verified["checks"] if check["name"] != "artefact"} == {"ok"}


def test_its_own_histories_come_with_experts_from_outside(installed: Installation):
    """Exported with what an expert would do, imported again, and imitated by dpt; no line of ours names the data."""
    (row,) = installed.document("run", "--method", "task-blind", "--env", "dark-corridor", "--device", "cpu")["runs"]
    out = str(installed.folder / "with-experts")
    installed.document("data", "export", row["dataset"], "--format", "npz", "--experts", "--out", out)
    said = installed.document("data", "import", out, "--protocol", "corridors")
    assert (said["source"], said["tasks"]["train"]) == ("imported-experts", [5, 5])
    what = ("--method", "dpt-moving-average", "--env", "dark-corridor", "--device", "cpu", "--set", "method.updates=8")
    (theirs,) = installed.document("run", *what)["runs"]
    (ours,) = installed.document("run", *what, "--source", said["path"])["runs"]
    assert ours["returns"] == theirs["returns"]


# --- The walk -----------------------------------------------------------------------------------------------------------


def test_the_walk_of_the_guide_from_plugins_new_to_a_verified_row(installed: Installation):
    """The commands of the guide's first section, one after the other, in a world and under a protocol that take seconds."""
    guide = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    section = guide.partition("## From nothing to a published row")[2]
    lines = section.partition("```sh\n")[2].partition("```")[0].splitlines()
    walk = [shlex.split(line, comments=True) for line in lines]
    assert [words[1] for words in walk if words[0] == "icrl-bench"] == [
        "plugins", "plugins", "run", "leaderboard", "leaderboard", "leaderboard",
    ]  # fmt: skip
    run_id = ""
    for words in walk:
        if words[0] == "pip":
            installed.install(installed.folder / words[-1])
            continue
        here = {"reacher-goal": "line-goal", "smoke": "third-party", "d52d6a20": run_id[:8]}
        arguments = [here.get(word, word) for word in words[1:]]
        if arguments[-1] == "published":
            arguments[-1] = str(installed.folder / "of-the-walk")
        document = installed.document(*arguments)
        if arguments[0] == "run":
            run_id = document["runs"][0]["run_id"]
        if arguments[:2] == ["leaderboard", "show"]:
            assert "my-method" in {row["method"] for row in document["rows"]}
    (verified,) = document["runs"]
    assert verified["run_id"] == run_id
    assert {check["status"] for check in verified["checks"] if check["name"] != "artefact"} == {"ok"}


def test_the_source_really_improves():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np\n"
        "from icrl_registry.contracts import Task\n"
        "from icrl_third_party.environment import LineGoal\n"
        "from icrl_third_party.source import HillClimb\n"
        "environment, source = LineGoal(LineGoal.Config()), HillClimb(HillClimb.Config())\n"
        "tasks = [Task((goal,)) for goal in (-0.7, 0.4, 0.8)]\n"
        "for run in source.collect(environment, tasks, np.random.SeedSequence(0).spawn(3), lambda n: None):\n"
        "    returns = run.history.episode_returns(0)\n"
        "    print(returns[:10].mean(), returns[-10:].mean())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "tests" / "third_party")], capture_output=True, text=True, check=True
    )
    pairs = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    assert len(pairs) == 3
    assert all(last > first for first, last in pairs)
