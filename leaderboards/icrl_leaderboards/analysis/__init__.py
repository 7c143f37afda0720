"""What may be said of runs: statistics, rows over seeds, comparisons of methods."""
