"""Causal attention: formula, kernels, and the operation that chooses between them."""
