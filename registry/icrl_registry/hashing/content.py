"""The content hash of a component: the same code gives the same hash on every machine, another behaviour gives another.

Artefacts are addressed by it, so what is hashed must be what can change a component's behaviour: the code of its module and,
transitively, of each module that this one imports from the same top-level package (or from another package that provides
plugins), the `__init__` files on the way included. How the code is written does not count (`canonical_code`), nor what the
modules are called: the hash is that of a set of modules, each with what it imports in the place of the names. So a comment
can be reworded, a function's file moved to another folder, and collected data stays good.

Imports are read from the syntax tree and nothing is executed. Out of reach are data files, modules imported by a computed
name, and other distributions, whose versions are recorded.

Files are read anew for every hash, since they may have been edited. What follows from a file's text is worked out once in a
process: components share most of their modules.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from icrl_registry.hashing.canonical_code import canonical, digest, imports, parse_code


@dataclass(frozen=True)
class Module:
    """One module behind a component: its code where it is Python that can be read, else the hash of what there is."""

    name: str
    is_package: bool
    source: str | None  # Python that can be parsed
    opaque: str = ""  # in place of source: the hash of an extension's bytes, of a file that is no Python, of a version

    def digest(self, stands_for: Mapping[str, str]) -> str:
        """Of the canonical code, with `stands_for` in the place of the modules named there; empty if it does nothing."""
        if self.source is None:
            return digest(self.opaque) if self.opaque else ""
        seen = frozenset((name, stands_for[name]) for name in imported_modules(self) if name in stands_for)
        return _digest_of_code(self.source, self.name, self.is_package, seen)


def hash_component(component: Any, module: str, packages: Iterable[str] = (), version: str = "") -> str:
    """sha256 (64 hexadecimal digits) of the code behind `component`, which the entry point names in `module`.

    `packages` are further top-level packages to follow imports into. `version` stands in for code that has no file.
    """
    modules = modules_behind(component, module, packages, version)
    nothing = dict.fromkeys((each.name for each in modules), "")
    # Each import stands for the code it brings; that code's own imports, which may lead back, stay out of it. What they
    # bring is in the set by itself.
    alone = {each.name: each.digest(nothing) or digest("") for each in modules}
    digests = {found for each in modules if (found := each.digest(alone))}
    _tree.cache_clear()  # trees are large
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def modules_behind(component: Any, module: str, packages: Iterable[str] = (), version: str = "") -> list[Module]:
    """The modules whose code makes up a component's hash, sorted by name; arguments as for `hash_component`."""
    roots = {module, str(getattr(component, "__module__", module))}
    followed = {root.partition(".")[0] for root in roots} | set(packages)
    found: dict[str, Module] = {}
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
        found[name] = _read(name, spec, version)
        waiting += sorted(imported_modules(found[name]))
    return [found[name] for name in sorted(found)]


def imported_modules(module: Module) -> frozenset[str]:
    """Absolute names that a module imports anywhere, functions included; `from a import b` yields `a` and `a.b`."""
    if module.source is None:
        return frozenset()
    return _imports_of_code(module.source, module.name, module.is_package)


@functools.cache
def _tree(source: str) -> ast.Module:
    return parse_code(source)


@functools.lru_cache(maxsize=4096)
def _imports_of_code(source: str, name: str, is_package: bool) -> frozenset[str]:
    names: set[str] = set()
    for base, member, _ in imports(_tree(source), name, is_package):
        names.add(base)
        if member is not None and member != "*":
            names.add(f"{base}.{member}")
    return frozenset(names - {""})


@functools.lru_cache(maxsize=4096)
def _digest_of_code(source: str, name: str, is_package: bool, stands_for: frozenset[tuple[str, str]]) -> str:
    form = canonical(_tree(source), name, is_package, dict(stands_for).get)
    return digest(form) if form else ""


def _read(name: str, spec: ModuleSpec, version: str) -> Module:
    """The code of a Python file; of other files the bytes, and the version for what has no readable file."""
    is_package = spec.submodule_search_locations is not None
    if spec.origin in (None, "namespace"):
        return Module(name, is_package, None, "" if is_package else version)
    try:
        content = Path(str(spec.origin)).read_bytes()
    except OSError:
        return Module(name, is_package, None, version)
    if str(spec.origin).endswith(".py"):
        module = Module(name, is_package, content.decode("utf-8", "replace"))
        try:
            imported_modules(module)
            return module
        except (SyntaxError, ValueError):  # a sibling nobody has imported yet: its bytes count, not its imports
            content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return Module(name, is_package, None, hashlib.sha256(content).hexdigest())


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
