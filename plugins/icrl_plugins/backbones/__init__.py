"""Causal sequence models: token embeddings in, features out, in parallel for training and one step at a time."""
