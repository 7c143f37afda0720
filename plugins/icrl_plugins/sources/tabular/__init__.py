"""Sources that keep a table of values instead of a network, for environments with finitely many observations."""
