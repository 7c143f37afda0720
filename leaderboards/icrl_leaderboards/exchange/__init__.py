"""Results on their way: per-episode exports, and one canonical file a run that anyone can check."""
