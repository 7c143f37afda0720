"""What runs leave on disk: the store, and how histories, checkpoints and data sets are written, checked and read."""
