"""A plugin that was begun works as it stands: it is found, passes `plugins check` and the test that came with it."""

from __future__ import annotations

import importlib.util
import inspect
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from icrl_bench.scaffolding.distribution import GROUPS
from icrl_registry import discovery

Run = Callable[..., Any]
IDS = {kind: "my-part-v1" if kind in ("environment", "protocol") else "my-part" for kind in GROUPS}


@pytest.fixture
def begun(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Begins a plugin of a kind and installs it, as far as its metadata goes."""

    def begin(kind: str) -> Path:
        folder = tmp_path / "my-part"
        document = cli("plugins", "new", kind, "my-part", "--out", folder, "--json").document
        assert sorted(document["files"]) == sorted(
            str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
        )
        assert document["name"] == IDS[kind]
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        info = folder / "my_part-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        lines = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            for group, points in project["entry-points"].items()
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(str(folder))
        discovery._scan.cache_clear()
        return folder

    yield begin
    discovery._scan.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_part"]:
        sys.modules.pop(name)


def own_tests(folder: Path) -> list[Callable[..., None]]:
    """The functions of the test that came with it, each case of a parametrised one by itself."""
    spec = importlib.util.spec_from_file_location("its_test", folder / "tests" / "test_my_part.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = []
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("test_"):
            marks = [mark for mark in getattr(function, "pytestmark", ()) if mark.name == "parametrize"]
            cases = marks[0].args[1] if marks else [None]
            found += [lambda f=function, c=case: f() if c is None else f(c) for case in cases]
    return found


@pytest.mark.parametrize("kind", GROUPS)
def test_it_passes_the_check_and_its_own_test(begun: Callable[[str], Path], cli: Run, kind: str):
    folder = begun(kind)
    checked = cli("plugins", "check", IDS[kind], "--kind", kind, "--json")
    assert checked.code == 0, checked.out
    assert checked.document["distribution"] == "my-part"
    tests = own_tests(folder) if kind != "hooks" else []  # which reads what was printed
    for test in tests:
        test()
    assert tests or kind == "hooks"


def test_the_hooks_follow_a_run(begun: Callable[[str], Path]):
    """Its test as anybody runs it, in a pytest of its own: that the file can be collected is shown for all kinds here."""
    folder = begun("hooks")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "tests")],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_what_is_begun_can_be_built_and_tested_elsewhere(begun: Callable[[str], Path]):
    folder = begun("environment")
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["dependencies"][0] == "icrl-bench"
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["my_part"]
    steps = (folder / ".github/workflows/test.yml").read_text()
    assert "icrl-bench plugins check my-part-v1 --kind environment" in steps
    assert "${{ matrix.python }}" in steps
    assert "icrl-bench plugins check my-part-v1" in (folder / "README.md").read_text()


def test_an_environment_that_was_begun_runs(begun: Callable[[str], Path], cli: Run):
    begun("environment")
    plan = cli("run", "-m", "task-blind", "-e", "my-part", "-p", "smoke", "--dry-run", "--json").document["plan"]
    assert plan["env"] == "my-part-v1"


WORLD = ("-e", "toy-point", "-p", "toy.toml")
WALKS = {  # kind → what the run with it is called with
    "method": ("-m", "my-part", *WORLD),
    "source": ("-m", "toy-method", *WORLD, "--source", "my-part", "--set", "source.total_steps=80"),
    "backbone": ("-m", "ad-my-part", *WORLD, "--set", "method.updates=2", "--set", "method.batch_size=2"),
    "environment": ("-m", "toy-method", "-e", "my-part", "-p", "toy.toml", "--source", "hill"),
    "protocol": ("-m", "toy-method", "-e", "toy-point", "-p", "my-part"),
}


@pytest.mark.parametrize("kind", WALKS)
def test_every_kind_that_makes_rows_walks_to_a_verified_one(
    begun: Callable[[str], Path],
    toy: Path,
    inline: None,
    cli: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
):
    """Begun, run, published and verified, with nothing written by hand but what the arguments say."""
    folder = begun(kind)
    if kind == "environment":  # a source that learns in any world: the one that `plugins new source` writes
        cli("plugins", "new", "source", "hill", "--out", tmp_path / "hill")
        info = toy / "toy_parts-1.0.dist-info" / "entry_points.txt"
        group = "[icrl_bench.sources]\n"
        info.write_text(info.read_text().replace(group, f"{group}hill = hill.source:Hill\n"))
        monkeypatch.syspath_prepend(str(tmp_path / "hill"))
        discovery._scan.cache_clear()
    if kind == "protocol":  # its base, with the toy's world in it
        (file,) = folder.rglob("my-part-v1.toml")
        file.write_text(file.read_text().replace('"smoke-v1"', f'"{toy / "toy.toml"}"').replace("[0, 1]", "[0]"))
    arguments = [str(toy / word) if word == "toy.toml" else word for word in WALKS[kind]]
    done = cli("run", *arguments, "--device", "cpu", "--json")
    assert done.code == 0, done.out
    (row,) = done.document["runs"]
    assert "my-part" in done.out
    cli("leaderboard", "submit", "latest", "--out", tmp_path / "published")
    verified = cli("leaderboard", "verify", tmp_path / "published", "--json")
    assert verified.code == 0, verified.out
    (found,) = verified.document["runs"]
    assert found["run_id"] == row["run_id"]
    assert {check["status"] for check in found["checks"] if check["name"] != "artefact"} == {"ok"}


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("enviroment", "my-world", "environment"),
        ("method", "My World", "cannot be called"),
        ("method", "lambda", "cannot be called"),
        ("method", "../up", "cannot be called"),
    ],
)
def test_names_that_cannot_be(cli: Run, tmp_path: Path, kind: str, name: str, words: str):
    output = cli("plugins", "new", kind, name, "--out", tmp_path / "x", "--json")
    assert output.code == 2
    assert words in json.dumps(output.error)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_is_there_is_left_alone(cli: Run, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    output = cli("plugins", "new", "method", "my-part", "--out", tmp_path, "--json")
    assert (output.code, "is there already" in output.error["message"]) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
