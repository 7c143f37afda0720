"""The four stages of a run, one module each, and the rollout loop that they share."""
