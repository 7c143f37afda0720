"""`icrl-bench`: puts the commands together and turns every error into words, a JSON envelope if asked for, and an exit code.

Exit codes: 0 done, 1 a run failed, 2 usage, 3 internal, 4 plugin missing or broken, 5 verification failed, 130 interrupted.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import typer

from icrl_bench.cli import bench, claims, doctor, protocols, tasks
from icrl_bench.cli.agents import policy, watch
from icrl_bench.cli.commands import CommandGroup
from icrl_bench.cli.completion import VARIABLE as COMPLETION
from icrl_bench.cli.data.app import app as data_app
from icrl_bench.cli.leaderboard.app import app as leaderboard_app
from icrl_bench.cli.plugins.app import app as plugins_app
from icrl_bench.cli.runs import grid, run, show, sweep
from icrl_bench.machine.streams import accept_any_text
from icrl_bench.machine.verbosity import choose_verbosity, verbosity
from icrl_registry import __version__
from icrl_registry.errors import (
    EXIT_DONE,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    BenchError,
    refused_by_the_machine,
)

app = typer.Typer(
    name="icrl-bench",
    help="In-context RL benchmark: how well does an agent learn a new task from its own experience?",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("sweep")(sweep.sweep)
app.command("grid")(grid.grid)
app.command("watch")(watch.watch)
app.command("claims")(claims.claims)
app.command("tasks")(tasks.tasks)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)
app.add_typer(plugins_app, name="plugins", help="List, show and check what is installed; begin a new one.")
app.add_typer(protocols.app, name="protocols", help="List, show, check and compare protocol files.")
app.add_typer(show.app, name="runs", help="List recorded runs, and show one.")
app.add_typer(policy.app, name="policy", help="Take a trained agent away.")
app.add_typer(
    data_app,
    name="data",
    help="List, show, verify, plot, import, export and remove learning histories and checkpoints.",
)
app.add_typer(leaderboard_app, name="leaderboard", help="Show the results, and report on them.")


@app.callback(invoke_without_command=True)
def callback(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress: results and errors alone."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Show the traceback behind an error."),
) -> None:
    """In-context RL benchmark: how well does an agent learn a new task from its own experience?"""
    choose_verbosity(quiet, verbose)
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Ends the process with a documented exit code."""
    accept_any_text()
    if not faulthandler.is_enabled():
        with suppress(OSError, ValueError, RuntimeError):  # no standard error
            faulthandler.enable()  # says where: a mapped file that cannot be read ends a process with "Bus error" alone
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    choose_verbosity(quiet=False, verbose=False)
    try:
        _add_plugin_commands()
        code = app(arguments, standalone_mode=False, prog_name="icrl-bench")
        sys.stdout.flush()
        if code == EXIT_INTERRUPTED:  # typer's answer to Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else EXIT_DONE
    except BenchError as error:
        if verbosity() == "verbose" and not as_json:
            traceback.print_exception(error)
        return _say(error.as_json(), error.exit_code, as_json)
    except KeyboardInterrupt:
        return _say(
            _envelope("interrupted", "interrupted", "run the same command again; it continues"),
            EXIT_INTERRUPTED,
            as_json,
        )
    except SystemExit as error:  # typer, once the shell knows what could follow or the reader has gone; or a plugin
        if isinstance(error.__context__, BrokenPipeError):
            return _reader_has_gone()
        if COMPLETION in os.environ or {"--show-completion", "--install-completion"} & set(arguments):
            return error.code if isinstance(error.code, int) else EXIT_DONE
        return _handle_other(RuntimeError(f"a plugin or library called sys.exit({error.code!r})"), as_json)
    except BrokenPipeError:
        return _reader_has_gone()
    except BaseException as error:  # a plugin's, or a panic of an extension module
        return _handle_other(error, as_json)


def _reader_has_gone() -> int:
    """As in `icrl-bench data list | head -1`: nothing is lost, and Python must not fail when it flushes at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return EXIT_DONE


def _handle_other(error: BaseException, as_json: bool) -> int:
    """Typer's own exceptions (usage errors, Abort, Exit), and whatever nobody expected."""
    if isinstance(error, typer.Abort) and not isinstance(error.__cause__, EOFError):
        return _say(
            _envelope("interrupted", "interrupted", "run the same command again; it continues"),
            EXIT_INTERRUPTED,
            as_json,
        )
    if isinstance(error, typer.Exit):
        return int(error.exit_code)
    message = getattr(error, "format_message", None)
    if type(error).__name__ == "NoArgsIsHelpError" and callable(message) and not as_json:  # the message is the help
        typer.echo(message())
        return EXIT_USAGE
    if callable(message):
        return _say(_envelope("usage", str(message()), _usage_hint(error)), EXIT_USAGE, as_json)
    if isinstance(error.__cause__, EOFError):
        error = error.__cause__  # typer takes it for the end of the user's input
    if isinstance(error, OSError) and (refusal := refused_by_the_machine(error)):
        return _say(refusal.as_json(), refusal.exit_code, as_json)
    if not as_json:
        traceback.print_exception(error)
    hint = "this is a fault of icrl-bench or of a plugin: please report it with the traceback"
    return _say(_envelope("internal", f"{type(error).__name__}: {error}", hint), EXIT_INTERNAL, as_json)


def _usage_hint(error: BaseException) -> str:
    context: Any = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "icrl-bench"
    return f"`{command} --help` shows what it takes"


def _envelope(kind: str, message: str, hint: str) -> dict[str, dict[str, str]]:
    return {"error": {"kind": kind, "message": message, "hint": hint}}


def _say(envelope: dict[str, dict[str, str]], code: int, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps(envelope) + "\n")
    else:
        error = envelope["error"]
        sys.stderr.write(f"error: {error['message']}\n")
        if error["hint"]:
            sys.stderr.write(f"hint: {error['hint']}\n")
    return code


def _add_plugin_commands() -> None:
    """Commands of `icrl_commands` hooks; nothing is imported where no hook plugin is installed."""
    from icrl_registry.discovery import entries_of_group

    if not entries_of_group("icrl_bench.hooks", "hooks"):
        return
    from icrl_registry.hooks import HookManager

    taken = {group.name for group in app.registered_groups} | {command.name for command in app.registered_commands}
    for name, command in HookManager().commands():
        if name in taken:
            continue
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)


if __name__ == "__main__":
    main()
