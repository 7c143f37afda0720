"""A run as it is written down: the record that the harness fills, and its numbers as arrays."""
