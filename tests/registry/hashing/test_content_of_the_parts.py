"""The built-in parts' hashes on a copy of the tree: words are free, a constant changes exactly those that use it."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KINDS = ("environments", "sources", "backbones", "methods")
HASHES = """
import json, sys
sys.path[:0] = sys.argv[1:3]
from icrl_registry.hashing.content import hash_component, modules_behind
for line in sys.stdin:
    print(json.dumps({name: [hash_component(None, module), [each.name for each in modules_behind(None, module)]]
                      for name, module in json.loads(line).items()}), flush=True)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("tree")
    for root in ("registry", "plugins"):
        shutil.copytree(ROOT / root, copy / root, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def modules_of_parts() -> dict[str, str]:
    """`{"source sac": "icrl_plugins.sources…"}`, from the entry points in pyproject.toml."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    return {
        f"{kind} {name}": target.partition(":")[0]
        for kind in KINDS
        for name, target in groups[f"icrl_bench.{kind}"].items()
    }


Hashes = dict[str, tuple[str, frozenset[str]]]


@contextmanager
def hashing(tree: Path) -> Iterator[Callable[[], Hashes]]:
    """A call gives for each part its hash and the modules behind it, as a process of its own finds them in the copy now."""
    command = [sys.executable, "-S", "-c", HASHES, str(tree / "registry"), str(tree / "plugins")]
    question = json.dumps(modules_of_parts())
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        questions, answers = process.stdin, process.stdout

        def ask() -> Hashes:
            print(question, file=questions, flush=True)
            return {
                name: (digest, frozenset(behind)) for name, (digest, behind) in json.loads(answers.readline()).items()
            }

        yield ask


def hashes(tree: Path) -> Hashes:
    with hashing(tree) as ask:
        return ask()


def reworded(source: str) -> str:
    """The source with every docstring in other words, and comments and blank lines between."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                start, end = first.lineno - 1, first.end_lineno or first.lineno
                indent = " " * first.col_offset
                lines[start] = f'{indent}"""In other words."""  # and a comment\n'
                lines[start + 1 : end] = [""] * (end - start - 1)
    return "\n\n".join(lines[:1]) + "\n" + "\n".join(lines[1:]) + "\n# the end\n"


def test_rewording_every_docstring_changes_no_hash(tree: Path, tmp_path: Path):
    before = hashes(tree)
    assert len(before) >= 19
    assert all("In other words" not in path.read_text(encoding="utf-8") for path in tree.rglob("*.py"))
    copy = shutil.copytree(tree, tmp_path / "reworded")
    for path in copy.rglob("*.py"):
        path.write_text(reworded(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert "In other words" in (copy / "registry/icrl_registry/hashing/content.py").read_text(encoding="utf-8")
    assert hashes(copy) == before


def test_an_edit_of_any_module_changes_exactly_the_parts_that_use_it(tree: Path, tmp_path: Path):
    """Which parts use a module is read from the modules behind them; that those are right is `test_content`'s."""
    copy = shutil.copytree(tree, tmp_path / "edited")
    with hashing(copy) as ask:
        before = ask()
        used = sorted(
            {name for _, behind in before.values() for name in behind} - {"icrl_plugins"}
        )  # no file, a namespace
        assert len(used) > 60
        for module in used[::6]:
            path = copy / "plugins" / module.replace(".", "/")
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            source = path.read_text(encoding="utf-8")
            path.write_text(source + "\nAN_EDIT = 1\n", encoding="utf-8")
            after = ask()
            path.write_text(source, encoding="utf-8")
            assert {name for name in before if before[name][0] != after[name][0]} == {
                name for name, (_, behind) in before.items() if module in behind
            }, module
        assert ask() == before


def test_what_a_source_uses_is_no_method_and_no_training(tree: Path):
    for name, (_, behind) in hashes(tree).items():
        if name.startswith("sources "):
            assert not [module for module in behind if ".methods" in module or ".training" in module], name
