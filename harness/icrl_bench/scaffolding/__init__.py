"""Plugins begun: `icrl-bench plugins new` writes a distribution that works, to be changed from there."""
