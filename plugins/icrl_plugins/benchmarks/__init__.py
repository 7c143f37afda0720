"""Benchmarks of what only the plugins know from inside."""
