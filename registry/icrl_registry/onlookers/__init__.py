"""Contracts of those who look on and change no number: renderers, which draw an environment, and trackers, which follow runs."""
