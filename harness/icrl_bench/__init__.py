"""The run: from a method's and an environment's name to rows in the leaderboard.

Importing it registers the installed environments with Gymnasium.
"""

from icrl_bench.gymnasium_ids import register_environments

register_environments()
