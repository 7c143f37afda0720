"""How much this process says beside its results: `icrl-bench -q` and `-v` set it, once, before a command begins."""

from __future__ import annotations

from typing import Literal

Verbosity = Literal["quiet", "normal", "verbose"]
_chosen: list[Verbosity] = ["normal"]


def choose_verbosity(quiet: bool, verbose: bool) -> None:
    """Quiet: results and errors alone. Verbose: the traceback behind every error as well."""
    _chosen[0] = "quiet" if quiet else "verbose" if verbose else "normal"


def verbosity() -> Verbosity:
    """What was chosen."""
    return _chosen[0]
