"""The run: from a method's and an environment's name to rows in the leaderboard.

Importing it registers the installed environments with Gymnasium and offers the functions of `interface`.
"""

from icrl_bench.gymnasium_ids import register_environments
from icrl_bench.interface import (
    Board,
    LoadedAgent,
    check,
    grid,
    leaderboard,
    load_agent,
    load_histories,
    plan,
    run,
)

__all__ = ["Board", "LoadedAgent", "check", "grid", "leaderboard", "load_agent", "load_histories", "plan", "run"]

register_environments()
