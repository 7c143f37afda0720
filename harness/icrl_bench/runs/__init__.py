"""Whole runs: a plan walked for its seeds, grids of settings, recorded runs made again or held to their plan."""
