"""What is released: a wheel made from the source archive, installed outside of the tree without constraints, and run there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "icrl_registry": ROOT / "registry/icrl_registry",
    "icrl_bench": ROOT / "harness/icrl_bench",
    "icrl_plugins": ROOT / "plugins/icrl_plugins",
    "icrl_leaderboards": ROOT / "leaderboards/icrl_leaderboards",
}


def build(kind: str, tree: Path, out: Path) -> Path:
    """A wheel or an sdist of a tree, as pip asks for it (PEP 517)."""
    code = f"from hatchling.build import build_{kind}; print(build_{kind}({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, check=True)
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the unpacked source archive, where there is no repository."""
    folder = tmp_path_factory.mktemp("build")
    with tarfile.open(build("sdist", ROOT, folder)) as archive:
        archive.extractall(folder / "tree", filter="data")
    (tree,) = (folder / "tree").iterdir()
    return build("wheel", tree, folder)


def test_the_wheel_has_every_file_of_the_packages(wheel: Path):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.split("/")[0].endswith(".dist-info")}
    wanted = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == wanted


def test_what_it_asks_for_is_what_the_tests_ran_with(wheel: Path):
    """Without constraints: each requirement allows the version that is installed here."""
    archive = zipfile.ZipFile(wheel)
    (path,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    lines = [line for line in archive.read(path).decode().splitlines() if line.startswith("Requires-Dist: ")]
    asked = [Requirement(line.removeprefix("Requires-Dist: ")) for line in lines]
    plain = [each for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert len(plain) > 10
    refused = {each.name for each in plain if not each.specifier.contains(version(each.name), prereleases=True)}
    assert not refused


def test_it_runs_from_an_environment_of_its_own(wheel: Path, tmp_path: Path):
    """The environment sees the libraries of this one, which satisfy what the wheel asks for."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=os.name != "nt")
    python = tmp_path / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = tmp_path / "venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    libraries = [path for path in sys.path if Path(path).name == "site-packages"]
    (site / "libraries.pth").write_text("\n".join({*libraries, sysconfig.get_paths()["purelib"]}))
    variables = {**os.environ, "ICRL_BENCH_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    variables.pop("PYTHONPATH", None)

    def execute(*command: str) -> str:
        done = subprocess.run(
            [str(python), *command], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    options = ("--no-index", "--force-reinstall", "--no-deps", "--quiet")
    execute("-m", "pip", "--disable-pip-version-check", "install", *options, str(wheel))
    where = execute("-c", "import icrl_bench, icrl_plugins; print(icrl_bench.__file__, icrl_plugins.__file__)")
    assert str(ROOT) not in where
    run = ("run", "-m", "task-blind", "-e", "reacher-goal", "-p", "smoke", "--set", "source.total_steps=200", "--json")
    (row,) = json.loads(execute("-m", "icrl_bench.cli.main", *run))["runs"]
    assert len(row["returns"]) == 10
