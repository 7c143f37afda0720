"""Trackers for `--tracker NAME`: each hands numbers on to a library that is an extra of this distribution."""
