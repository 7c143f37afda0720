"""Watching a trained agent adapt: the recorded adaptation is played again, some of its episodes are filmed, side by side."""
