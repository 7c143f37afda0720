"""Plugins for icrl-bench from outside: one of each kind, and hooks."""
