"""Plugins for icrl-bench from outside: one of each kind, a protocol with recorded data, and hooks."""
