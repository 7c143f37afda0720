"""Every code block of the documents holds what it claims: commands parse, Python runs or calls what there is, files load."""

from __future__ import annotations

import ast
import doctest
import functools
import inspect
import itertools
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

import icrl_bench
from icrl_bench.cli.main import app
from icrl_registry.configuration import build_config
from icrl_registry.discovery import KINDS, list_plugins, load, resolve, resolve_method
from icrl_registry.protocols.loading import load_protocol, parse_protocol

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")]
#: Names that the documents use for what a reader writes; they stand for a plugin that isn't there.
EXAMPLES = {"my-world", "my-source", "my-net", "my-method", "my-pen", "best-so-far", "ad-my-net", "my-bench", "mine"}
LANGUAGES = {"sh", "python", "toml", "json", "text", ""}
SAME = {"bash": "sh", "shell": "sh", "console": "sh", "py": "python"}


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    found, language, start, lines = [], None, 0, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"\s*(?:```|~~~)(.*)$", line)
        if fence and language is None:
            language, start, lines = SAME.get(fence[1].strip(), fence[1].strip()), number, []
        elif fence:
            found.append(Block(page, start, language, "\n".join(lines)))
            language = None
        elif language is not None:
            lines.append(line)
    assert language is None, f"{page}: a block is not closed"
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def commands() -> list[tuple[Block, list[str]]]:
    """Every `icrl-bench …` in shell blocks, as words."""
    found = []
    for block in of("sh"):
        text = block.text.replace("\\\n", " ")
        found += [(block, line) for line in text.splitlines() if re.match(r"(\S*/)?icrl-bench ", line.strip())]
    words = [(block, shlex.split(line, comments=True)[1:]) for block, line in found]
    ends = {"&&", "&"}
    return [(block, list(itertools.takewhile(lambda word: word not in ends, each))) for block, each in words]


def parse(words: list[str]) -> dict[str, Any]:
    """The options and arguments of a command line, read as the program reads them, with nothing carried out."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        assert rest[0] in command.commands, f"no command {rest[0]}"
        command = command.commands[rest.pop(0)]
    with command.make_context(command.name, rest) as context:
        return dict(context.params)


def test_every_language_is_one_that_is_tested():
    strange = [f"{block}: {block.language}" for block in BLOCKS if block.language not in LANGUAGES]
    assert not strange


@pytest.mark.parametrize(
    ("block", "words"), commands(), ids=lambda value: str(value) if isinstance(value, Block) else ""
)
def test_commands_are_commands_and_name_what_there_is(block: Block, words: list[str]):
    given = parse(words)
    environments, method = [given.get("env")] if isinstance(given.get("env"), str) else [], given.get("method")
    for environment in environments:
        if environment.lower() not in {*EXAMPLES, "environment"} and environment.isascii() and "/" not in environment:
            resolve("environment", environment)
    if isinstance(method, str) and method not in EXAMPLES and method.islower():
        resolve_method(method)
    protocol = given.get("protocol")
    if isinstance(protocol, str) and re.fullmatch(r"[a-z0-9-]+", protocol) and protocol not in EXAMPLES:
        load_protocol(protocol)
    for assignment in given.get("set_") or []:
        check_setting(assignment, method)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_running_text_are_commands(page: Path):
    program: Any = typer.main.get_command(app)
    for text in re.findall(r"`icrl-bench ([a-z][^`]*)`", page.read_text(encoding="utf-8").replace("\n", " ")):
        first, *rest = text.split()
        assert first in program.commands, text
        below = getattr(program.commands[first], "commands", {})
        assert not below or not rest or not rest[0].isalpha() or not rest[0].islower() or rest[0] in below, text


def check_setting(assignment: str, method: object) -> None:
    """`--set method.updates=10` is a setting of the method that the command names."""
    section, _, rest = assignment.partition(".")
    key = rest.partition("=")[0]
    if section == "method" and isinstance(method, str) and method not in EXAMPLES:
        assert key in load("method", resolve_method(method)[0].name).component.Config.model_fields, assignment


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_toml_is_what_it_is_said_to_be(block: Block, tmp_path: Path):
    tables = tomllib.loads(block.text.replace('"…"', '"' + "0" * 64 + '"'))
    groups = tables.get("project", {}).get("entry-points", {})
    assert set(groups) <= known_groups()
    if "id" in tables:
        protocol = parse_protocol(block.text, str(block))
        for section in ("method", "backbone"):
            for name, settings in getattr(protocol, section).items():
                base = name if name in {entry.name for entry in list_plugins(section)} else name.partition("-")[0]
                build_config(load(section, base).component.Config, settings, f"{section}.{name}")


@functools.cache
def known_groups() -> set[str]:
    """The groups of entry points that our code looks for."""
    code = "\n".join(
        path.read_text(encoding="utf-8") for room in ("registry", "harness") for path in (ROOT / room).rglob("*.py")
    )
    kinds = {f"icrl_bench.{kind}s" for kind in KINDS}
    return kinds | set(re.findall(r'GROUP = "(icrl_bench\.\w+)"', code))


#: Pages whose Python is executed, block after block as a reader would type it, in an empty folder.
EXECUTED = {"docs/data.md"}


@pytest.mark.parametrize("page", sorted({block.page for block in of("python")}), ids=lambda page: page.name)
def test_python_calls_what_there_is(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for block in of("python"):
        if block.page == page:
            tree = ast.parse(block.text)
            check_imports(tree)
            check_calls(tree)
            if str(page.relative_to(ROOT)) in EXECUTED:
                exec(compile(tree, str(block), "exec"), namespace)


def public_names() -> list[tuple[str, Any]]:
    """What `import icrl_bench` offers, and the methods of its classes."""
    offered = [(name, getattr(icrl_bench, name)) for name in icrl_bench.__all__]
    methods = [
        (f"{name}.{key}", method)
        for name, each in offered
        if inspect.isclass(each)
        for key, method in vars(each).items()
        if key[0] != "_" and inspect.isfunction(method)
    ]
    return offered + methods


@pytest.mark.parametrize(("name", "offered"), public_names(), ids=[name for name, _ in public_names()])
def test_the_example_of_a_public_name_calls_what_there_is(name: str, offered: Any):
    """Each has one, it compiles, it calls the name, and the calls take the arguments that it gives."""
    examples = doctest.DocTestParser().get_examples(offered.__doc__ or "")
    assert examples, f"{name} has no example"
    tree = ast.parse("".join(example.source for example in examples))
    check_imports(tree)
    check_calls(tree)
    methods: dict[str, Any] = {"board": icrl_bench.Board, "agent": icrl_bench.LoadedAgent}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            on, called = ast.unparse(node.func.value), node.func.attr
            if on in methods:
                signature = inspect.signature(getattr(methods[on], called))
                signature.bind(None, *node.args, **{each.arg: None for each in node.keywords if each.arg})
    words = {each.attr for each in ast.walk(tree) if isinstance(each, ast.Attribute)}
    made_by = {"Board": "leaderboard", "LoadedAgent": "load_agent"}  # nobody constructs these
    assert made_by.get(name, name.rpartition(".")[2]) in words, name


def check_imports(tree: ast.Module) -> None:
    """What is imported from our packages is there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("icrl_"):
            module = __import__(node.module, fromlist=[alias.name for alias in node.names])
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def check_calls(tree: ast.Module) -> None:
    """`icrl_bench.f(…)` is called with arguments that it takes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("icrl_bench."):
            name = ast.unparse(node.func).removeprefix("icrl_bench.")
            if name.isidentifier():
                signature = inspect.signature(getattr(icrl_bench, name))
                signature.bind(*node.args, **{keyword.arg: None for keyword in node.keywords if keyword.arg})


def test_the_walk_sees_the_blocks():
    """That nothing is found would be a fault of the test."""
    assert len(of("sh")) >= 5
    assert len(of("toml")) >= 5
    assert len(of("python")) >= 4
    assert len(commands()) >= 10
