"""The content hash changes with every source that can change a component, and with nothing else."""

from __future__ import annotations

import importlib
import sys
import textwrap
from pathlib import Path

import pytest

from icrl_registry.hashing.canonical_code import imports, parse_code
from icrl_registry.hashing.content import hash_component

FILES = {
    "acme_parts/__init__.py": "from . import constants\n",
    "acme_parts/constants.py": "SIZE = 3\n",
    "acme_parts/method.py": """
        import json
        from acme_parts.maths.linear import solve
        class Thing:
            def late(self):
                from .late import value
                return value
    """,
    "acme_parts/late.py": "value = 1\n",
    "acme_parts/maths/__init__.py": "",
    "acme_parts/maths/linear.py": "from ..shared import scale\ndef solve(): return scale\n",
    "acme_parts/shared.py": "scale = 2.0\n",
    "acme_parts/unrelated.py": "raise RuntimeError('nobody imports me')\n",
    "acme_parts/maths/unrelated.py": "x = 1\n",
}
REACHED = ["__init__", "constants", "method", "late", "maths/__init__", "maths/linear", "shared"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, source in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.startswith("acme_parts")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path / "acme_parts"


class Component:
    __module__ = "acme_parts.method"


def digest() -> str:
    return hash_component(Component, "acme_parts.method")


@pytest.mark.parametrize("name", REACHED)
def test_editing_anything_imported_changes_the_hash(package: Path, name: str):
    before = digest()
    path = package / f"{name}.py"
    path.write_text(path.read_text() + "\nedited = True\n")
    assert digest() != before


@pytest.mark.parametrize("name", REACHED)
def test_a_comment_a_docstring_or_a_blank_line_changes_nothing(package: Path, name: str):
    before = digest()
    path = package / f"{name}.py"
    path.write_text(f'"""Of {name}."""\n\n# edited\n\n' + path.read_text().replace("\n", "  # here\n\n"))
    assert digest() == before


@pytest.mark.parametrize("name", ["unrelated", "maths/unrelated"])
def test_editing_an_unrelated_sibling_changes_nothing(package: Path, name: str):
    before = digest()
    (package / f"{name}.py").write_text("edited = True\n")
    assert digest() == before


def test_nothing_is_executed(package: Path):
    digest()
    assert not [name for name in sys.modules if name.startswith("acme_parts")]


def test_line_ends_and_place_do_not_matter(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = digest()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    package.rename(elsewhere / "acme_parts")
    for path in (elsewhere / "acme_parts").rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.syspath_prepend(str(elsewhere))
    importlib.invalidate_caches()
    assert digest() == before


def test_a_module_that_moves_keeps_the_hash(package: Path):
    before = digest()
    (package / "shared.py").rename(package / "maths" / "scales.py")
    linear = package / "maths" / "linear.py"
    linear.write_text(linear.read_text().replace("..shared", ".scales"))
    (package / "deep").mkdir()
    (package / "deep" / "__init__.py").write_text('"""A room of its own."""\n')
    (package / "method.py").write_text((package / "method.py").read_text().replace("from .late", "from .deep.later"))
    (package / "late.py").rename(package / "deep" / "later.py")
    importlib.invalidate_caches()
    assert digest() == before


def test_two_modules_that_change_places_change_the_hash(package: Path):
    """Both stay in the set: what differs is which of them is imported where."""
    (package / "late.py").write_text("value = 1\nscale = 3.0\n")
    method = package / "method.py"
    method.write_text(method.read_text() + "\nfrom .shared import scale\n")
    before = digest()
    linear = package / "maths" / "linear.py"
    linear.write_text(linear.read_text().replace("..shared", "..late"))
    assert digest() != before


def test_other_packages_count_only_if_they_provide_plugins(package: Path):
    other = package.parent / "acme_base.py"
    other.write_text("x = 1\n")
    method = package / "method.py"
    method.write_text("import acme_base\n" + method.read_text())
    importlib.invalidate_caches()
    alone, together = digest(), hash_component(Component, "acme_parts.method", {"acme_base"})
    other.write_text("x = 2\n")
    assert digest() == alone
    assert hash_component(Component, "acme_parts.method", {"acme_base"}) != together


def test_code_without_a_file_is_known_by_its_version():
    class BuiltIn:
        __module__ = "sys"

    first, second = (hash_component(BuiltIn, "sys", version=version) for version in ("1", "2"))
    assert first != second
    assert first == hash_component(BuiltIn, "sys", version="1")


@pytest.mark.parametrize(
    ("source", "is_package", "expected"),
    [
        ("import a.b, c", False, {"a.b", "c"}),
        ("from . import x", False, {"p.q", "p.q.x"}),
        ("from . import x", True, {"p.q.m", "p.q.m.x"}),
        ("from ..y import z", False, {"p.y", "p.y.z"}),
        ("from a import *", False, {"a"}),
        ("def f():\n    if True:\n        import late", False, {"late"}),
    ],
)
def test_imports_are_read_from_the_syntax(source: str, is_package: bool, expected: set[str]):
    found = set()
    for base, name, _ in imports(parse_code(source), "p.q.m", is_package):
        found |= {base} | ({f"{base}.{name}"} if name not in (None, "*") else set())
    assert found == expected
