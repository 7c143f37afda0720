"""The run: from a method's and an environment's name to rows in the leaderboard."""
