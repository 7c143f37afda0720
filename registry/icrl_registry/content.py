"""The content hash of a component: the same source gives the same hash on every machine, an edit gives another.

Artefacts are addressed by it, so what is hashed must be what can change a component's behaviour: the source of its
module and, transitively, of each module that this one imports from the same top-level package (or from another package
that provides plugins), the `__init__` files on the way included. Imports are read from the syntax tree and nothing is
executed. Out of reach are data files, modules imported by a computed name, and other distributions, whose versions are
recorded.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any


def hash_component(component: Any, module: str, packages: Iterable[str] = (), version: str = "") -> str:
    """sha256 (64 hexadecimal digits) of the sources behind `component`, which the entry point names in `module`.

    `packages` are further top-level packages to follow imports into. `version` stands in for code that has no file.
    """
    roots = {module, str(getattr(component, "__module__", module))}
    followed = {root.partition(".")[0] for root in roots} | set(packages)
    digest = hashlib.sha256()
    for name, spec in sorted(_closure(roots, followed).items()):
        digest.update(f"{name}\0".encode())
        digest.update(hashlib.sha256(_content(spec, version)).digest())
    return digest.hexdigest()


def imported_modules(source: str, module: str, is_package: bool) -> set[str]:
    """Absolute names that `source` imports anywhere, functions included; `from a import b` yields `a` and `a.b`."""
    package = module if is_package else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node.module or "", node.level, package)
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
    return names - {""}


def _absolute(module: str, level: int, package: str) -> str:
    """The module that `from ..module import …` means inside `package`."""
    if level == 0:
        return module
    parts = package.split(".")
    base = parts[: len(parts) - (level - 1)]
    return ".".join([*base, module] if module else base)


def _closure(roots: Iterable[str], followed: set[str]) -> dict[str, ModuleSpec]:
    """Every module reachable from `roots` by import statements within the `followed` packages, with its spec."""
    found: dict[str, ModuleSpec] = {}
    waiting = sorted(roots)
    visited: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in visited or name.partition(".")[0] not in followed:
            continue
        visited.add(name)
        parent = name.rpartition(".")[0]
        if parent:
            waiting.append(parent)
        spec = _find(name)
        if spec is None:  # a class or function of the parent, not a module
            continue
        found[name] = spec
        if spec.origin and spec.origin.endswith(".py"):
            source = Path(spec.origin).read_text(encoding="utf-8", errors="replace")
            waiting += _imports_or_none(source, name, spec.submodule_search_locations is not None)
    return found


def _imports_or_none(source: str, name: str, is_package: bool) -> set[str]:
    try:
        return imported_modules(source, name, is_package)
    except SyntaxError:  # a sibling nobody has imported yet: its bytes are hashed, its imports cannot be known
        return set()


def _find(name: str) -> ModuleSpec | None:
    """The spec of a module, found from its parents' directories without importing any of them."""
    parent = name.rpartition(".")[0]
    if not parent:
        loaded = getattr(sys.modules.get(name), "__spec__", None)
        return loaded if isinstance(loaded, ModuleSpec) else _find_top_level(name)
    parent_spec = _find(parent)
    if parent_spec is None or parent_spec.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(name, list(parent_spec.submodule_search_locations))


def _find_top_level(name: str) -> ModuleSpec | None:
    for finder in sys.meta_path:  # editable installs add finders of their own
        find_spec = getattr(finder, "find_spec", None)
        spec = find_spec(name, None) if find_spec is not None else None
        if isinstance(spec, ModuleSpec):
            return spec
    return None


def _content(spec: ModuleSpec, version: str) -> bytes:
    """Source with `\\n` line ends, other files as they are, and the version for what has no readable file."""
    if spec.origin in (None, "namespace"):
        return b"namespace" if spec.submodule_search_locations is not None else version.encode()
    try:
        content = Path(str(spec.origin)).read_bytes()
    except OSError:
        return version.encode()
    if str(spec.origin).endswith(".py"):
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content
