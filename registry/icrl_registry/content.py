"""The content hash of a component: the same code gives the same hash on every machine, another behaviour gives another.

Artefacts are addressed by it, so what is hashed must be what can change a component's behaviour: the code of its module and,
transitively, of each module that this one imports from the same top-level package (or from another package that provides
plugins), the `__init__` files on the way included. How the code is written does not count (`canonical_code`), nor what the
modules are called: the hash is that of a set of modules, each with what it imports in the place of the names. So a comment
can be reworded, a function's file moved to another folder, and collected data stays good.

Imports are read from the syntax tree and nothing is executed. Out of reach are data files, modules imported by a computed
name, and other distributions, whose versions are recorded.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from icrl_registry.canonical_code import canonical, digest, imports, parse_code


@dataclass(frozen=True)
class Module:
    """One module behind a component: its code where it is Python that can be read, else the hash of what there is."""

    name: str
    is_package: bool
    code: ast.Module | None
    opaque: str = ""  # in place of code: the hash of an extension's bytes, of a file that is no Python, of a version

    def form(self, stands_for: Mapping[str, str]) -> str:
        """The canonical code, with `stands_for` in the place of the modules named there; empty if it does nothing."""
        if self.code is None:
            return self.opaque
        return canonical(self.code, self.name, self.is_package, stands_for.get)


def hash_component(component: Any, module: str, packages: Iterable[str] = (), version: str = "") -> str:
    """sha256 (64 hexadecimal digits) of the code behind `component`, which the entry point names in `module`.

    `packages` are further top-level packages to follow imports into. `version` stands in for code that has no file.
    """
    modules = modules_behind(component, module, packages, version)
    # Each import stands for the code it brings; that code's own imports, which may lead back, stay out of it. What they
    # bring is in the set by itself.
    alone = {each.name: digest(each.form(dict.fromkeys((other.name for other in modules), ""))) for each in modules}
    digests = {digest(form) for each in modules if (form := each.form(alone))}
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


def imported_modules(module: Module) -> set[str]:
    """Absolute names that a module imports anywhere, functions included; `from a import b` yields `a` and `a.b`."""
    if module.code is None:
        return set()
    names: set[str] = set()
    for base, name, _ in imports(module.code, module.name, module.is_package):
        names.add(base)
        if name is not None and name != "*":
            names.add(f"{base}.{name}")
    return names - {""}


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
        try:
            return Module(name, is_package, parse_code(content.decode("utf-8", "replace")))
        except (
            SyntaxError,
            ValueError,
        ):  # a sibling nobody has imported yet: its bytes count, its imports can't be known
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
