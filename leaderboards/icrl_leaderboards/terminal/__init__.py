"""Results in a terminal: tables of runs and studies."""
