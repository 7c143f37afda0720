"""The code speaks as docs/glossary.md says: its names are in use, what it replaces is gone, one public name is one thing."""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("registry/icrl_registry", "harness/icrl_bench", "plugins/icrl_plugins", "leaderboards/icrl_leaderboards")
#: Where the words of a table of the glossary are held; everywhere, where nothing is said.
ROOMS = {"Networks and kernels": ("plugins/icrl_plugins/kernels", "plugins/icrl_plugins/networks")}


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def bound(module: ast.Module) -> Iterator[str]:
    """The names that a module gives: to variables, attributes, parameters, functions and classes."""
    for node in ast.walk(module):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name


def rows() -> Iterator[tuple[str, list[str], list[str]]]:
    """Heading, names in the code, and what they stand instead of."""
    heading = ""
    for line in (ROOT / "docs/glossary.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        cells = line.strip("|").split("|")
        if len(cells) == 3 and "`" in cells[1]:
            yield heading, re.findall(r"`(\w+)`", cells[1]), re.findall(r"`(\w+)`", cells[2])


def public_definitions(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Public classes and aliases of types at a module's top, with what tells two of one name apart."""
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, f"class at line {node.lineno}"
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, ast.unparse(node.value)


def test_the_page_has_its_tables():
    assert {heading for heading, _, _ in rows()} >= {"Learning", "Networks and kernels", "Code"}
    assert sum(len(replaced) for _, _, replaced in rows()) > 15


@pytest.mark.parametrize(("heading", "names", "replaced"), list(rows()), ids=lambda value: str(value)[:60])
def test_a_things_name_is_in_use_and_what_it_replaces_is_not(heading: str, names: list[str], replaced: list[str]):
    text = "\n".join(path.read_text(encoding="utf-8") for path in files(*PACKAGES))
    for name in names:
        assert re.search(rf"\b{name}\b", text), name
    for path in files(*ROOMS.get(heading, PACKAGES)):
        assert not set(bound(tree(path))) & set(replaced), path.relative_to(ROOT)


def test_no_public_class_or_type_has_the_name_of_another():
    places: dict[str, dict[str, str]] = defaultdict(dict)
    for path in files(*PACKAGES):
        for name, what in public_definitions(tree(path)):
            if name[0].isupper() and not name.isupper():
                key = f"{path}, {what}" if what.startswith("class") else what  # an alias may be said twice alike
                places[name][key] = str(path.relative_to(ROOT))
    assert not {name: sorted(where.values()) for name, where in places.items() if len(where) > 1}


def test_an_array_type_is_defined_once():
    defined = [
        path.relative_to(ROOT)
        for path in files(*PACKAGES)
        for name, _ in public_definitions(tree(path))
        if name in ("Array", "FloatArray", "Float64Array", "BoolArray")
    ]
    assert defined == [Path("registry/icrl_registry/arrays.py")] * 4
