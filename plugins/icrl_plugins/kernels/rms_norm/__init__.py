"""The RMS norm: formula, kernels, and the operation that chooses between them."""
