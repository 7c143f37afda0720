"""Contracts of those who look on and change no number: renderers draw an environment, trackers follow runs."""
