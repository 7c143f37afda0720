"""What a module does, apart from how it is written: the canonical form of its code, which the content hash is taken of.

Two sources have one form if they differ only in comments, docstrings, blank lines, formatting, the order of imports, imports
for type checkers alone (`if TYPE_CHECKING:`), or in the *names* of the project's own modules: an import stands for the code it
brings, so a file can move without a change. The form is built from the syntax tree field by field, without positions and
without empty fields, since those are what differs between the trees of Python 3.11 to 3.13.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

#: (absolute module name) → what stands for its code, or None if it is none of the modules that are followed.
Resolve = Callable[[str], str | None]
#: Fields that say nothing about what runs: hints for type checkers, the `u` before a string, how a name is used.
_IGNORED_FIELDS = {"type_comment", "type_ignores", "kind", "ctx"}


def parse_code(source: str) -> ast.Module:
    """The syntax tree without docstrings, of attributes too, and without what is imported for type checkers alone.

    Raises:
        SyntaxError: it is not Python.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, [statement for statement in value if _runs(statement)])
    return tree


def imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[str, str | None, str]]:
    """Everything that the code of `module` imports, functions included: (absolute module, name in it, local name).

    `import a.b as c` gives `("a.b", None, "c")`, `from .x import y` gives `("p.x", "y", "y")`.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imported(node, module, is_package)


def canonical(tree: ast.Module, module: str, is_package: bool, resolve: Resolve) -> str:
    """The form of a tree from `parse_code`; empty for a module without code.

    `resolve` says what stands for the modules that `module` imports. A module that it doesn't know keeps its name.
    """
    return _block(tree.body, lambda node: _import_forms(node, module, is_package, resolve))


def digest(form: str) -> str:
    """sha256 of a canonical form, 64 hexadecimal digits."""
    return hashlib.sha256(form.encode("utf-8", "surrogatepass")).hexdigest()


def _runs(statement: ast.stmt) -> bool:
    """False for a string that stands by itself, and for `if TYPE_CHECKING:` without an `else`."""
    if isinstance(statement, ast.Expr):
        return not (isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str))
    if isinstance(statement, ast.If) and not statement.orelse:
        return "TYPE_CHECKING" not in (getattr(statement.test, "id", None), getattr(statement.test, "attr", None))
    return True


def _imported(
    node: ast.Import | ast.ImportFrom, module: str, is_package: bool
) -> Iterator[tuple[str, str | None, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, None, alias.asname or f"{alias.name}."  # without `as`, the whole dotted name is used
        return
    package = module if is_package else module.rpartition(".")[0]
    base = _absolute(node.module or "", node.level, package)
    for alias in node.names:
        yield base, alias.name, alias.asname or alias.name


def _absolute(module: str, level: int, package: str) -> str:
    """The module that `from ..module import …` means inside `package`."""
    if level == 0:
        return module
    parts = package.split(".")
    base = parts[: len(parts) - (level - 1)]
    return ".".join([*base, module] if module else base)


def _import_forms(node: ast.Import | ast.ImportFrom, module: str, is_package: bool, resolve: Resolve) -> list[str]:
    """One form for each name that an import statement binds: what it is called here, and what stands for its code."""
    forms = []
    for base, name, local in _imported(node, module, is_package):
        as_module = resolve(base if name is None else f"{base}.{name}")
        if as_module is not None:
            forms.append(f"import({local},{as_module})")
        elif name is not None and (code := resolve(base)) is not None:
            forms.append(f"import({local},{code},{name})")
        else:
            forms.append(f"import({local},{base!r},{name})")
    return forms


_ImportForms = Callable[["ast.Import | ast.ImportFrom"], list[str]]


def _block(statements: list[ast.stmt], import_forms: _ImportForms) -> str:
    """A list of statements; its imports come first, sorted, however they were grouped."""
    imported = {
        form for node in statements if isinstance(node, ast.Import | ast.ImportFrom) for form in import_forms(node)
    }
    rest = [_form(node, import_forms) for node in statements if not isinstance(node, ast.Import | ast.ImportFrom)]
    return ";".join([*sorted(imported), *rest])


def _form(value: Any, import_forms: _ImportForms) -> str:
    if isinstance(value, list):
        if value and isinstance(value[0], ast.stmt):
            return f"{{{_block(value, import_forms)}}}"
        return f"[{','.join(_form(item, import_forms) for item in value)}]"
    if isinstance(value, ast.JoinedStr):
        return f"JoinedStr({_form(_merged(value.values), import_forms)})"
    if isinstance(value, ast.Constant):
        return f"{type(value.value).__name__}:{value.value!r}"
    if isinstance(value, ast.AST):
        fields = sorted(
            (name, _form(field, import_forms))
            for name, field in ast.iter_fields(value)
            if name not in _IGNORED_FIELDS and field is not None and field != []
        )
        return f"{type(value).__name__}({','.join(f'{name}={form}' for name, form in fields)})"
    return repr(value)  # identifiers, and numbers such as a conversion in an f-string


def _merged(parts: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string with neighbouring literals joined and empty ones left out; parsers cut them differently."""
    merged: list[ast.expr] = []
    for part in parts:
        if isinstance(part, ast.Constant) and merged and isinstance(merged[-1], ast.Constant):
            merged[-1] = ast.Constant(str(merged[-1].value) + str(part.value))
        else:
            merged.append(part)
    return [part for part in merged if not (isinstance(part, ast.Constant) and part.value == "")]
