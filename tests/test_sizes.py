"""What a reader takes in at once: folders of a dozen files, files of four hundred lines, functions of eight arguments."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOTS = ("registry", "harness", "plugins", "leaderboards")
CODE = [path for root in ROOTS for path in sorted((ROOT / root).rglob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
#: What no reader takes in at once: caches, and the names that must stand beside the package's own files.
NOT_READ = {"__pycache__", "__init__.py", "py.typed"}


def too_large(sizes: dict[str, int], limit: int) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if size > limit}


def test_no_folder_has_more_than_twelve_files():
    folders = {path.parent for path in (*CODE, *TESTS)} | set((ROOT / "harness").rglob("templates/**"))
    sizes = {
        str(folder.relative_to(ROOT)): sum(path.is_file() and path.name not in NOT_READ for path in folder.iterdir())
        for folder in folders
        if not NOT_READ & set(folder.parts)
    }
    assert not too_large(sizes, 12)


def test_no_file_has_more_than_four_hundred_lines():
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in (*CODE, *TESTS)
    }
    assert not too_large(sizes, 400)


def test_no_function_has_more_than_eight_arguments_outside_the_command_line():
    sizes = {}
    for path in CODE:
        if "cli" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef):
                    given = node.args
                    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
                    several = [each for each in (given.vararg, given.kwarg) if each is not None]
                    size = len(set(names) - {"self", "cls"}) + len(several)
                    sizes[f"{path.relative_to(ROOT)}: {node.name}"] = size
    assert not too_large(sizes, 8)


def test_no_function_has_more_than_sixty_four_lines():
    sizes = {
        f"{path.relative_to(ROOT)}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert not too_large(sizes, 64)
