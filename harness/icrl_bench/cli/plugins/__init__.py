"""`icrl-bench plugins`: what is installed, what it takes, whether it keeps its contract, and a new one begun."""
