"""`icrl-bench leaderboard`: one file per group of commands."""
