"""One form for what does the same, another for what does something else."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import enum
import json
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import icrl_registry.hashing.canonical_code
from icrl_registry.hashing.canonical_code import canonical, digest, parse_code


def form(source: str, known: dict[str, str] | None = None) -> str:
    return canonical(parse_code(source), "p.m", False, (known or {}).get)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("x = (1 +\n 2)  # sum", "x = 1 + 2"),
        ("def f():\n    'Doc.'\n    return 1", "def f():\n\n    return 1"),
        ("class A:\n    'Doc.'\n    x: int = 1\n    'Of x.'", "class A:\n    x: int = 1"),
        ("s = 'a' 'b'", 's = "ab"'),
        ("s = f'a' f'{x}b' 'c'", "s = f'a{x}bc'"),
        ("import a\nimport b\nx = 1", "import b\nimport a\nx = 1"),
        ("from a import b, c", "from a import c\nfrom a import b"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import q", "from typing import TYPE_CHECKING"),
        ("n = 1_000", "n = 1000"),
        ("'Only words.'", ""),
    ],
)
def test_ways_to_write_the_same(first: str, second: str):
    assert form(first) == form(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 0.0", "x = -0.0"),
        ("x = True", "x = 1"),
        ("x = 'a'", "x = b'a'"),
        ("x = a - b - c", "x = a - (b - c)"),
        ("f(a, b)", "f(a, b=b)"),
        ("s = f'{x!r}'", "s = f'{x}'"),
        ("s = f'{x:.3f}'", "s = f'{x:.2f}'"),
        ("from a import b", "from a import b as c"),
        ("from a import b", "from c import b"),
        ("def f(): return 1", "async def f(): return 1"),
        ("def f(a, /): pass", "def f(a): pass"),
        ("def f(*, a): pass", "def f(a): pass"),
        ("if a:\n    b()\nc()", "if a:\n    b()\n    c()"),
        ("x[1:2]", "x[1:2:1]"),
        ("x = ['a', 'b']", "x = ['b', 'a']"),
        ("print('Doc.')", "print('Other.')"),
        ("if TYPE_CHECKING:\n    a = 1\nelse:\n    a = 2", "if TYPE_CHECKING:\n    a = 1\nelse:\n    a = 3"),
        ("@f\ndef g(): pass", "def g(): pass"),
        ("global_name: int", "global_name: float"),
    ],
)
def test_what_does_something_else_has_another_form(first: str, second: str):
    assert form(first) != form(second)


def test_an_import_stands_for_its_code():
    assert form("from .x import y", {"p.x": "code"}) == form("from .deep.z import y", {"p.deep.z": "code"})
    assert form("from .x import y", {"p.x": "code"}) != form("from .x import y", {"p.x": "other"})
    assert form("from . import x as n", {"p.x": "code"}) == form("from .deep import z as n", {"p.deep.z": "code"})


def test_no_two_statements_of_the_standard_library_share_a_form():
    """The oracle is `ast.dump`: where it tells two statements apart, so does the form."""
    dumps: dict[str, str] = {}
    for name in ("dataclasses", "typing", "asyncio.base_events", "ast", "contextlib", "_pydecimal", "enum", "argparse"):
        path = Path(json.__file__).parents[1] / (name.replace(".", "/") + ".py")
        for node in ast.walk(parse_code(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.stmt) and "Import" not in (dump := ast.dump(_without_hints(node))):
                alone = canonical(ast.Module([node], []), "p.m", False, {}.get)
                assert dumps.setdefault(alone, dump) == dump
    assert len(dumps) > 2000


def _without_hints(node: ast.stmt) -> ast.stmt:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant):
            part.kind = None
    return node


def _pythons() -> list[str]:
    """Interpreters of other versions that start, on the path or kept by pyenv."""
    found = []
    for version in ("3.12", "3.13", "3.14"):
        kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        for path in filter(None, [*map(str, kept), shutil.which(f"python{version}")]):
            if subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
                found.append(path)
                break
    return found


SOURCES = [icrl_registry.hashing.canonical_code, dataclasses, typing, enum, argparse]


@pytest.mark.parametrize("source", [Path(module.__file__) for module in SOURCES], ids=lambda path: path.stem)
@pytest.mark.parametrize("python", _pythons() or [sys.executable])
def test_other_versions_of_python_give_the_same_form(python: str, source: Path):
    """Where no other version is at hand, another process of this one: at least no hash seed enters."""
    text = source.read_text(encoding="utf-8")
    program = Path(icrl_registry.hashing.canonical_code.__file__).read_text(encoding="utf-8") + (
        "\nimport sys\ntext = sys.stdin.buffer.read().decode()\n"
        "print(digest(canonical(parse_code(text), 'p.m', False, {}.get)), end='')\n"
    )
    done = subprocess.run([python, "-c", program], input=text.encode(), capture_output=True, check=True)
    assert done.stdout.decode() == digest(form(text))
