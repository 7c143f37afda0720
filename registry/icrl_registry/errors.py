"""Errors that a user can act on: each says what was wrong, what was expected and what to type next.

Exit codes are part of the command line's contract (README, "Exit codes"); scripts rely on them.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches

EXIT_DONE = 0
EXIT_RUN_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERNAL = 3
EXIT_PLUGIN = 4
EXIT_VERIFICATION = 5
EXIT_INTERRUPTED = 130


class BenchError(Exception):
    """An error with a kind (for scripts), a message (what was wrong) and a hint (what to type next)."""

    kind = "run_failed"
    exit_code = EXIT_RUN_FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[BenchError], tuple[str, str]]:
        return type(self), (self.message, self.hint)

    def as_json(self) -> dict[str, dict[str, str]]:
        """The one JSON error envelope: `{"error": {"kind", "message", "hint"}}`."""
        return {"error": {"kind": self.kind, "message": self.message, "hint": self.hint}}


class UsageError(BenchError):
    """The command line, a configuration or a protocol asks for something that does not exist."""

    kind = "usage"
    exit_code = EXIT_USAGE


class UnknownNameError(UsageError):
    """A name that nothing carries; the hint holds the nearest ones."""

    kind = "unknown_name"


class PluginError(BenchError):
    """A plugin is missing, broken, clashes with another, or breaks its contract."""

    kind = "plugin"
    exit_code = EXIT_PLUGIN


class NumericalError(BenchError):
    """A NaN or infinity where a finite number belongs; the message says where it arose."""

    kind = "not_finite"


class DamagedArtefactError(BenchError):
    """A stored file is missing or differs from its checksum; the hint says how to rebuild it."""

    kind = "damaged_artefact"
    exit_code = EXIT_VERIFICATION


def unknown_name(what: str, name: str, known: Iterable[str], list_command: str = "") -> UnknownNameError:
    """An `UnknownNameError` for `name` whose hint offers the nearest of the `known` names."""
    candidates = sorted(known)
    near = get_close_matches(name, candidates, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif candidates:
        hint = f"known: {', '.join(candidates)}"
    else:
        hint = f"no {what} is installed"
    if list_command:
        hint += f" (`{list_command}` lists them)"
    return UnknownNameError(f"unknown {what} '{name}'", hint)


#: What the machine refuses, whatever a file holds; with what helps.
_REFUSALS = {
    errno.ENOSPC: "free some space and run the same command again; it continues",
    errno.EDQUOT: "free some space and run the same command again; it continues",
    errno.EROFS: "choose another folder with --home DIR",
    errno.EACCES: "choose another folder with --home DIR",
    errno.EPERM: "choose another folder with --home DIR",
    errno.EMFILE: "`ulimit -n 4096` allows more open files; then run the same command again; it continues",
    errno.ENFILE: "close other programs and run the same command again; it continues",
    errno.ENOMEM: "close other programs and run the same command again; it continues",
    errno.ENAMETOOLONG: "write a shorter path",
    errno.EIO: "the disk may be failing: `dmesg` says more; --home DIR chooses another",
}


def refused_by_the_machine(error: OSError, place: object = None) -> BenchError | None:
    """A full, read-only or failing disk and the like, in words; None for an error that tells of the file itself.

    Such an error is no damage: nothing may be discarded because of it.
    """
    hint = _REFUSALS.get(error.errno or 0)
    if hint is None:
        return None
    return BenchError(f"cannot use {place or error.filename or 'a file'}: {error.strerror}", hint)
