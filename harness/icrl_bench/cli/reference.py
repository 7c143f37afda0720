"""The command line as one page of Markdown: `python -m icrl_bench.cli.reference` prints what `docs/command-line.md` holds."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

import typer

from icrl_bench.cli.main import app

HEAD = """# Command line

Made from the program by `python -m icrl_bench.cli.reference`; a test holds it current. Every reading command takes `--json`;
with it, stdout holds one document and nothing else, errors included: `{"error": {"kind", "message", "hint"}}`. Artefacts live
below `ICRL_BENCH_HOME` (or `--home`).

**Exit codes:** 0 done · 1 a run failed · 2 usage · 3 internal · 4 plugin missing or broken · 5 verification failed, or a
regression under `leaderboard compare --fail-on-regression` · 130 interrupted.
"""


def reference() -> str:
    """Every command with its arguments and options, as Markdown; commands of installed plugins are left out."""
    command = typer.main.get_command(app)
    return HEAD + "".join(_command("icrl-bench", command))


def _command(path: str, command: Any) -> Iterator[str]:
    members = getattr(command, "commands", None)
    if members:
        for name in sorted(members):
            yield from _command(f"{path} {name}", members[name])
        return
    yield f"\n## `{path}`\n\n{inspect.cleandoc(command.help or '').strip()}\n"
    rows = [row for parameter in command.params if (row := _parameter(parameter))]
    if rows:
        yield "\n| | |\n|---|---|\n" + "".join(rows)


def _parameter(parameter: Any) -> str:
    if getattr(parameter, "hidden", False) or parameter.name == "help":
        return ""
    help_ = " ".join((getattr(parameter, "help", None) or "").split())
    if parameter.param_type_name == "argument":
        return _row((parameter.metavar or parameter.name or "").upper(), help_)
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    metavar = "" if parameter.is_flag else f" {parameter.metavar or (parameter.name or '').upper()}"
    shown = help_
    default = parameter.default
    if default not in (None, False, True, ()) and not callable(default) and "[default:" not in help_:
        shown += f" Default: {default}."
    return _row(names + metavar, shown)


def _row(name: str, text: str) -> str:
    return f"| `{name}` | {_cell(text)} |\n"


def _cell(text: str) -> str:
    """Text of a table's cell: no bar ends it, nothing is read as markup."""
    return re.sub(r"([|<>*_\[\]])", r"\\\1", text)


if __name__ == "__main__":
    sys.stdout.write(reference())
