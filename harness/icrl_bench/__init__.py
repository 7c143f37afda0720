"""The run: from a method's and an environment's name to rows in the leaderboard.

Importing it registers the installed environments with Gymnasium and offers the functions of `interface`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from icrl_bench.gymnasium_ids import register_environments
from icrl_bench.interface import (
    Board,
    check,
    grid,
    leaderboard,
    load_agent,
    load_histories,
    plan,
    run,
)

__all__ = ["Board", "LoadedAgent", "check", "grid", "leaderboard", "load_agent", "load_histories", "plan", "run"]

if TYPE_CHECKING:
    from icrl_registry.policies import LoadedAgent

register_environments()


def __getattr__(name: str) -> Any:
    """`LoadedAgent` brings NumPy, which `icrl-bench --help` does without."""
    if name == "LoadedAgent":
        from icrl_registry.policies import LoadedAgent

        return LoadedAgent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
