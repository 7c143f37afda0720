"""What every gradient-trained method shares: random streams, optimisation, resumable updates, checkpoints."""
