"""The commands that make rows: one run, a sweep of settings, a grid of a protocol."""
