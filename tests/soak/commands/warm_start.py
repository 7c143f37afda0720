"""A process in which the command line has been imported already, and that starts commands as forks of itself.

A campaign makes hundreds of runs of a second each; importing torch for each would take most of the time. Each line on
standard input is a request in JSON, each line on standard output its answer:

    {"start": ARGUMENTS, "folder": DIR, "environment": {...}}   → {"pid": N}: a session leader that writes DIR/out, DIR/err
    {"wait": N, "seconds": S}                                   → {"status": exit code, −signal, or null: still running}
    {"warm": ARGUMENTS}                                         → {"status": exit code}: runs here, for what it imports
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any


def main() -> None:
    """Answers until standard input ends."""
    (script,) = entry_points(group="console_scripts", name="icrl-bench")
    command = script.load()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer: dict[str, Any] = {"status": wait(request["wait"], request["seconds"])}
        elif "warm" in request:
            answer = {"status": call(command, request["warm"])}
        else:
            answer = {"pid": start(command, request["start"], Path(request["folder"]), request["environment"])}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def call(command: Any, arguments: list[str]) -> int:
    """Runs a command in this process; its exit code."""
    try:
        command(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def start(command: Any, arguments: list[str], folder: Path, environment: dict[str, str]) -> int:
    """Forks, and runs a command in the child, which leads a session of its own."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    for number in (
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGTERM,
    ):  # `nohup` and `&` have them ignored, and children inherit it
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    os.environ.update(environment)
    code = 99
    try:
        code = call(command, arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:
        code = 130  # before the command had begun, or after its end
    finally:
        os._exit(code)


def wait(pid: int, seconds: float) -> int | None:
    """How a child ended; None if it has not after that time."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(0.01)


if __name__ == "__main__":
    main()
